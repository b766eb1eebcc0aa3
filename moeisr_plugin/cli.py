"""The `moeisr` command."""

import argparse
import sys
from collections.abc import Sequence

from moeisr_plugin import __version__
from moeisr_plugin.commands import complexity, convert, evaluate, options, publish, upscale
from moeisr_plugin.commands.programs import run_program
from moeisr_plugin.utils.arguments import OneLineParser

COMMANDS = (upscale, convert, complexity, evaluate, publish, options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit status: 0 on success; 1 if some of several pictures failed; 2 for wrong input, after one line
        on stderr; 130 after an interruption. With --debug, exceptions are raised instead.
    """
    args = _parser().parse_args(argv)
    return run_program(f"moeisr {args.command}", lambda: args.run(args), debug=args.debug)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="moeisr", description="Arbitrary-scale super-resolution.")
    parser.add_argument("--version", action="version", version=f"moeisr {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = command.add_parser(subparsers)
        subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
