"""The `moeisr` command."""

import argparse
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from moeisr_plugin import __version__
from moeisr_plugin.commands import complexity, convert, evaluate, publish, upscale
from moeisr_plugin.commands.messages import one_line

COMMANDS = (upscale, convert, complexity, evaluate, publish)


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
    try:
        with _termination_interrupts(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of what an error tells, or what does no harm
            return args.run(args)
    except (ValueError, OSError, MemoryError) as error:
        if args.debug:
            raise
        print(f"moeisr {args.command}: {one_line(error)}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if args.debug or "out of memory" not in str(error):
            raise
        print(f"moeisr {args.command}: the GPU is out of memory; add --device cpu", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if args.debug:
            raise
        print(f"moeisr {args.command}: interrupted", file=sys.stderr)
        return 130


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Lets SIGTERM, as of `kill`, end a command as Ctrl-C does, so that it clears away what it began."""
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
