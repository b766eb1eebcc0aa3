"""`moeisr completion`: print the script that completes commands and options in a shell."""

import argparse
from collections.abc import Iterator

from moeisr_plugin.commands.streams import parse_input
from moeisr_plugin.utils.arguments import parse_path

SHELLS = ("bash", "zsh", "tcsh")
DESCRIPTION = """Print a script with which the Tab key completes commands, options and file names. For bash,
run eval "$(moeisr completion bash)", and add that line to ~/.bashrc to keep it. For zsh, write the output to
a file named _moeisr in a folder of $fpath. For tcsh, write it to a file, and add a line that sources the file
to ~/.tcshrc."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "completion",
        help="print the script that completes commands and options in a shell",
        description=DESCRIPTION,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the script.

    Args:
        args: `program` is the parser of all commands.

    Returns:
        0.
    """
    import shtab  # needed by this command only

    for action in _actions(args.program):
        if action.type in (parse_path, parse_input) or action.dest == "out":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # the interface of shtab
    print(shtab.complete(args.program, args.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)
