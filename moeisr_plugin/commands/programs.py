"""Run a command-line program: report errors in one line and handle interruption."""

import logging
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
    """Run a program and turn exceptions into an exit status.

    Args:
        program: name of the program, for messages.
        work: the program. It returns the exit status.
        debug: raise exceptions instead of printing one line.
        interrupted: message after Ctrl-C or SIGTERM.

    Returns:
        The exit status of `work`; 2 after an error in the input; 130 after an interruption.
    """
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by the caller; tqdm and others call its isatty()
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    try:
        with _termination_interrupts(), _log_on_stderr(program), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # harmless, or followed by an error
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
    """Return the message for a shortage of memory. On a CPU, torch raises a plain RuntimeError for it."""
    if "out of memory" in str(error):
        return "the GPU is out of memory; add --device cpu"
    if "can't allocate memory" in str(error):
        return "out of memory; close other programs, or give a smaller picture"
    return None


@contextmanager
def _log_on_stderr(program: str) -> Iterator[None]:
    """Print the log of this package on stderr, as lines of the program."""
    log, handler = logging.getLogger("moeisr_plugin"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{program}: %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP as well, so that cleanup code runs."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    names = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    available = [getattr(signal, name) for name in names if hasattr(signal, name)]
    handled = [number for number in available if signal.getsignal(number) != signal.SIG_IGN]  # keep nohup
    previous = {number: signal.signal(number, signal.default_int_handler) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
