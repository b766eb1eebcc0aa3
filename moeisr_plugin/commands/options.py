"""`moeisr options`: print the options of a file with its bases merged, or what files and options exist."""

import argparse
import sys

from moeisr_plugin.utils.arguments import parse_path

DESCRIPTION = """Print the options of a file, merged with its bases (_base_) and changed by --force_yml. The
output is an option file that needs no other. The options are not checked: moeisr_plugin.train and
moeisr_plugin.test do that with --check. With --schema or --table, print instead what options there are; both
need BasicSR."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "options",
        help="print an option file with its bases merged, or list the option files of the package",
        description=DESCRIPTION,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "file", nargs="?", type=parse_path, metavar="FILE", help="option file (YAML), or a name from --list"
    )
    source.add_argument(
        "--list",
        action="store_true",
        help="list the option files of the package; moeisr_plugin.train and moeisr_plugin.test take their "
        "names after -opt",
    )
    source.add_argument(
        "--schema", action="store_true", help="print the JSON schema of option files, for editors"
    )
    source.add_argument("--table", action="store_true", help="print tables of all options, in Markdown")
    parser.add_argument(
        "--force_yml", nargs="+", default=[], metavar="KEY:KEY=VALUE", help="override options of the file"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the options, or the list.

    Returns:
        0.

    Raises:
        ValueError: the files or the entries of --force_yml cannot be read, or there is no file; one line.
    """
    printed = next((text for name, text in LISTINGS.items() if getattr(args, name)), None)
    if printed is not None and args.force_yml:
        raise ValueError("--force_yml needs FILE, whose options it overrides; omit it")
    sys.stdout.write(_options(args) if printed is None else printed())
    return 0


def _options(args: argparse.Namespace) -> str:
    from moeisr_plugin.options.parse import force_options, read_options, write_options

    return write_options(force_options(read_options(args.file), args.force_yml))


def _files() -> str:
    from moeisr_plugin.options.shipped import shipped_options

    files = shipped_options()
    if not files:
        raise ValueError("this installation holds no option files; install the package again")
    width = max(map(len, files))
    return "".join(f"{name:{width}}  {file}\n" for name, file in files.items())


def _schema() -> str:
    import json

    from moeisr_plugin.options.json_schema import json_schema

    return json.dumps(json_schema(), indent=1) + "\n"


def _tables() -> str:
    from moeisr_plugin.options.tables import option_tables

    return option_tables()


LISTINGS = {"list": _files, "schema": _schema, "table": _tables}
"""What is printed in place of a file, by the option that selects it."""
