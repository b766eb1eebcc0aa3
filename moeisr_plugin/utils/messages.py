"""How errors are told on the command line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks, or its kind where it has none."""
    message = str(error)
    if "\nOriginal Traceback" in message:  # torch puts the traceback in a data worker before the message
        message = message.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(message.split()) or type(error).__name__


@contextmanager
def errors_in_one_line(program: str, *, debug: bool) -> Iterator[None]:
    """Ends the program with exit status 2, after one line, where input cannot be used.

    Args:
        program: its name, for the line.
        debug: let the exception itself come through.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if debug:
            raise
        print(f"{program}: {one_line(error)} (--debug shows where)", file=sys.stderr)
        raise SystemExit(2) from None
