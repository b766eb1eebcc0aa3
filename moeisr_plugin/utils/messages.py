"""Error messages on the command line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, or its class name if the message is empty."""
    message = str(error)
    if "\nOriginal Traceback" in message:  # torch prepends the traceback of the data worker
        message = message.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(message.split()) or type(error).__name__


@contextmanager
def errors_in_one_line(program: str, *, debug: bool) -> Iterator[None]:
    """Print a ValueError or an OSError on one line and exit with status 2.

    Args:
        program: name of the program, printed before the message.
        debug: do not catch the exception.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if debug:
            raise
        print(f"{program}: {one_line(error)} (--debug shows where)", file=sys.stderr)
        raise SystemExit(2) from None
