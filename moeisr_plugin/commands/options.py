"""`moeisr options`: print the options of a file with its bases merged, or list the shipped files."""

import argparse
import sys
from pathlib import Path

DESCRIPTION = """Print the options of a file, merged with its bases (_base_) and changed by --force_yml. The
output is an option file that needs no other. The options are not checked: moeisr_plugin.train and
moeisr_plugin.test do that with --check."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "options",
        help="print an option file with its bases merged, or list the option files of the package",
        description=DESCRIPTION,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="option file (YAML), or a name from --list"
    )
    source.add_argument(
        "--list",
        action="store_true",
        help="list the option files of the package; moeisr_plugin.train and moeisr_plugin.test take their "
        "names after -opt",
    )
    parser.add_argument(
        "--force_yml", nargs="+", default=[], metavar="KEY:KEY=VALUE", help="override options of the file"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the options, or the list.

    Returns:
        0.

    Raises:
        ValueError: the files or the entries of --force_yml cannot be read; one line.
    """
    from moeisr_plugin.options.parse import force_options, read_options, write_options
    from moeisr_plugin.options.shipped import shipped_options

    if args.list:
        files = shipped_options()
        if not files:
            raise ValueError("this installation holds no option files; install the package again")
        width = max(map(len, files))
        for name, file in files.items():
            print(f"{name:{width}}  {file}")
    else:
        sys.stdout.write(write_options(force_options(read_options(args.file), args.force_yml)))
    return 0
