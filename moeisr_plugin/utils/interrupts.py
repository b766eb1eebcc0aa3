"""Interruption of the command-line programs by Ctrl-C, SIGTERM and SIGHUP.

Importing PyTorch takes seconds. An exception that a signal handler raises meanwhile can get lost in an
extension module, or turn into another one. So a signal ends the program at once until its work begins, and
also during later imports. At other times it raises KeyboardInterrupt, so that cleanup code runs.

This module loads only small modules, because it runs before all others.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STATUS = 130
"""Exit status after an interruption."""

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


def end_program_on_signals() -> None:
    """Install handlers that end a program of this package at once; do nothing in other processes.

    Signals that are ignored, as by nohup, or that have a handler stay as they are.
    """
    program = _program()
    if program is None:
        return
    owner = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked data worker
            signal.default_int_handler(number, None)
        _end_at_once(program)

    for number in _signals():
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)


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
            _end_at_once(self._program)
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
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _end_at_once(program: str) -> None:
    with suppress(OSError):  # stderr is closed
        os.write(2, f"{program}: interrupted\n".encode(errors="backslashreplace"))
    os._exit(STATUS)


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether a frame is within an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _program() -> str | None:
    """Return the name of the program that this process runs, or None if it is not of this package."""
    first = (getattr(sys, "argv", None) or [""])[0]
    if first != "-m":  # so it is while Python looks for the module that -m names
        name = os.path.splitext(os.path.basename(first))[0]
        return name if name == "moeisr" else None
    words = sys.orig_argv
    place = next((i for i, word in enumerate(words) if word.startswith("-m")), None)
    if place is None:
        return None
    module = words[place][2:] or "".join(words[place + 1 : place + 2])
    package, _, name = module.partition(".")
    if package != "moeisr_plugin":
        return None
    return "moeisr" if name == "cli" else name
