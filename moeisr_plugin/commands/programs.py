"""How a program of the command line runs: wrong input is one line, and it can be stopped at any time."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from moeisr_plugin.utils.messages import one_line


def run_program(
    program: str, work: Callable[[], int], *, debug: bool, interrupted: str = "interrupted"
) -> int:
    """Does what a program is for.

    Args:
        program: its name, for the line.
        work: gives the exit status.
        debug: let exceptions themselves come through.
        interrupted: what to say after Ctrl-C or SIGTERM.

    Returns:
        The exit status: that of the work; 2 for input that cannot be used, after one line on stderr; 130 if
        interrupted or terminated.
    """
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # it was closed; tqdm and others ask it whether it is a terminal
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    try:
        with _termination_interrupts(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of what an error tells, or what does no harm
            return work()
    except (ValueError, OSError, MemoryError) as error:
        if debug:
            raise
        print(f"{program}: {one_line(error)}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        shortage = _shortage_of_memory(error)
        if debug or shortage is None:
            raise
        print(f"{program}: {shortage}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"{program}: {interrupted}", file=sys.stderr)
        return 130


def _shortage_of_memory(error: RuntimeError) -> str | None:
    """What to say if it is a shortage of memory, which torch has no exception of its own for on a CPU."""
    if "out of memory" in str(error):
        return "the GPU is out of memory; add --device cpu"
    if "can't allocate memory" in str(error):
        return "out of memory; close other programs, or give a smaller picture"
    return None


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Lets `kill`, or closing the terminal, end a program as Ctrl-C does: it clears away what it began."""
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield
        return
    names = ("SIGTERM", "SIGHUP")  # Windows has no terminals that hang up
    endings = [getattr(signal, name) for name in names if hasattr(signal, name)]
    heeded = [each for each in endings if signal.getsignal(each) != signal.SIG_IGN]  # nohup ignores
    before = {each: signal.signal(each, signal.default_int_handler) for each in heeded}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
