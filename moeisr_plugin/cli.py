"""The `moeisr` command."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from moeisr_plugin import __version__
from moeisr_plugin.commands import complexity, convert, evaluate, publish, upcycle, upscale
from moeisr_plugin.commands.programs import run_program

COMMANDS = (upscale, convert, upcycle, complexity, evaluate, publish)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Answers a wrong command line in one line instead of the whole usage."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help tells more)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand.

    Returns:
        0; 1 if some of several pictures failed; 2 for input that cannot be used, after one line on stderr;
        130 if interrupted or terminated. With --debug the exception itself comes through.
    """
    args = _parser().parse_args(argv)
    return run_program(f"moeisr {args.command}", lambda: args.run(args), debug=args.debug)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="moeisr", description="Arbitrary-scale super-resolution.")
    parser.add_argument("--version", action="version", version=f"moeisr {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = command.add_parser(subparsers)
        subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
