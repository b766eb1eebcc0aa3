"""Interruption of the command-line programs by Ctrl-C, SIGTERM and SIGHUP.

Importing PyTorch takes seconds. An exception that a signal handler raises meanwhile can get lost in an
extension module, or turn into another one. So a signal ends the program at once until its work begins
(`early_signals`), and also during later imports. At other times it raises KeyboardInterrupt, so that cleanup
code runs.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from moeisr_plugin.utils.early_signals import NAMES, end_at_once


class Interrupts:
    """What happened to the signals of a running program.

    Attributes:
        received: whether there was a signal.
    """

    def __init__(self, program: str) -> None:
        self.received = False
        self._program = program
        self._owner = os.getpid()
        self._is_over = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt. End the process at once during an import, and at the second signal."""
        if self._is_over:
            return
        if os.getpid() == self._owner and (self.received or _is_importing(frame)):
            end_at_once(self._program)
        self.received = True
        raise KeyboardInterrupt

    def handle_again(self, lost: "sys.UnraisableHookArgs") -> None:
        """Repeat an interruption that was raised where no exception can be raised, such as in `__del__`."""
        if issubclass(lost.exc_type, KeyboardInterrupt):
            self.received = False
            signal.raise_signal(signal.SIGINT)
        else:
            sys.__unraisablehook__(lost)

    def end(self) -> None:
        """Ignore further signals, until the former handlers are installed again."""
        self._is_over = True


@contextmanager
def interrupts_raised(program: str) -> Iterator[Interrupts]:
    """Raise KeyboardInterrupt on signals, in the main thread of the process.

    Args:
        program: its name, for the message if it ends at once.
    """
    interrupts = Interrupts(program)
    handled = [number for number in _signals() if signal.getsignal(number) != signal.SIG_IGN]
    hook, previous = sys.unraisablehook, {}
    try:
        with suppress(ValueError):  # only the main thread may set handlers
            for number in handled:
                previous[number] = signal.signal(number, interrupts.handle)
            sys.unraisablehook = interrupts.handle_again
        yield interrupts
    finally:
        interrupts.end()
        sys.unraisablehook = hook
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _signals() -> list[signal.Signals]:
    return [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether a frame is within an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
