"""The `moeisr` command."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from moeisr_plugin import __version__
from moeisr_plugin.commands.programs import run_program
from moeisr_plugin.utils.arguments import OneLineParser
from moeisr_plugin.utils.missing import toolbox_needed
from moeisr_plugin.utils.plugins import import_modules
from moeisr_plugin.utils.torch_memory import require_memory_for_torch

COMMANDS = (
    "upscale",
    "web",
    "networks",
    "convert",
    "upcycle",
    "export",
    "complexity",
    "evaluate",
    "publish",
    "options",
    "completion",
)
"""The modules of `commands` that are subcommands, in the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit status: 0 on success; 1 if some of several pictures failed; 2 for wrong input, after one line
        on stderr; 130 after an interruption. With --debug, exceptions are raised instead.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    commands = _commands(argv)
    program = f"moeisr {commands[0]}" if len(commands) == 1 else "moeisr"
    return run_program(program, lambda: _run(_parser(commands).parse_args(argv)), debug="--debug" in argv)


def _run(args: argparse.Namespace) -> int:
    """Run the subcommand.

    Raises:
        ValueError: it needs a package that only training needs, and that is not installed; a module of
            --import cannot be imported; or memory is limited too much for PyTorch.
    """
    if args.modules:
        require_memory_for_torch()
    try:
        import_modules(args.modules)
    except ValueError as error:
        raise ValueError(f"--import: {error}") from error
    with toolbox_needed(args.command):
        return args.run(args)


def _commands(argv: Sequence[str]) -> Sequence[str]:
    """Return the subcommands whose modules this command line needs."""
    first = argv[0] if argv else None
    if first == "--version":
        return ()
    of_all = first == "completion"
    return (first,) if first in COMMANDS and not of_all else COMMANDS


def _parser(commands: Sequence[str]) -> argparse.ArgumentParser:
    parser = OneLineParser(prog="moeisr", description="Arbitrary-scale super-resolution.")
    parser.add_argument("--version", action="version", version=f"moeisr {__version__}")
    parser.set_defaults(program=parser)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    helper = subparsers.add_parser("help", help="show this help, or the help of a command")
    helper.add_argument("of", nargs="?", choices=COMMANDS, help="the command")
    for name in commands:
        command = importlib.import_module(f"moeisr_plugin.commands.{name}")
        subparser = command.add_parser(subparsers)
        subparser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        subparser.add_argument(
            "--import",
            action="append",
            dest="modules",
            metavar="MODULE",
            help="import a module, or a .py file, that registers networks of your own; repeatable",
        )
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
