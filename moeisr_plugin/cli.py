"""The `moeisr` command."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from moeisr_plugin import __version__
from moeisr_plugin.commands.programs import run_program
from moeisr_plugin.utils.arguments import OneLineParser
from moeisr_plugin.utils.missing import TRAINING_PACKAGES, missing_package

COMMANDS = ("upscale", "convert", "upcycle", "complexity", "evaluate", "publish", "options")
"""The modules of `commands` that are subcommands, in the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit status: 0 on success; 1 if some of several pictures failed; 2 for wrong input, after one line
        on stderr; 130 after an interruption. With --debug, exceptions are raised instead.
    """
    argv = sys.argv[1:] if argv is None else argv
    commands = _commands(argv)
    program = f"moeisr {commands[0]}" if len(commands) == 1 else "moeisr"
    return run_program(program, lambda: _run(_parser(commands).parse_args(argv)), debug="--debug" in argv)


def _run(args: argparse.Namespace) -> int:
    """Run the subcommand.

    Raises:
        ValueError: it needs a package that only training needs, and that is not installed.
    """
    try:
        return args.run(args)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in TRAINING_PACKAGES:
            raise
        raise ValueError(missing_package(args.command, error.name)) from error


def _commands(argv: Sequence[str]) -> Sequence[str]:
    """Return the subcommands whose modules this command line needs."""
    first = argv[0] if argv else None
    if first == "--version":
        return ()
    return (first,) if first in COMMANDS else COMMANDS


def _parser(commands: Sequence[str]) -> argparse.ArgumentParser:
    parser = OneLineParser(prog="moeisr", description="Arbitrary-scale super-resolution.")
    parser.add_argument("--version", action="version", version=f"moeisr {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands:
        command = importlib.import_module(f"moeisr_plugin.commands.{name}")
        subparser = command.add_parser(subparsers)
        subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
