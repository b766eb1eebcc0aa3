"""`moeisr options`: print the options of a file with its bases merged."""

import argparse
import sys
from pathlib import Path

DESCRIPTION = """Print the options of a file, merged with its bases (_base_) and changed by --force_yml. The
output is an option file that needs no other. The options are not checked: moeisr_plugin.train and
moeisr_plugin.test do that with --check."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "options", help="print an option file with its bases merged", description=DESCRIPTION
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="option file (YAML)")
    parser.add_argument(
        "--force_yml", nargs="+", default=[], metavar="KEY:KEY=VALUE", help="override options of the file"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the options.

    Returns:
        0.

    Raises:
        ValueError: the files or the entries of --force_yml cannot be read; one line.
    """
    from moeisr_plugin.options.parse import force_options, read_options, write_options

    sys.stdout.write(write_options(force_options(read_options(args.file), args.force_yml)))
    return 0
