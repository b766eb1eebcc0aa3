"""Ending a training between two iterations when a signal asks for it."""

import signal
import threading
from types import FrameType
from typing import Any

HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Notes a SIGTERM or SIGINT, for the training to heed when an iteration is complete.

    A second signal acts as it would without this: it ends the process at once.

    Attributes:
        signal_name: the name of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def install_handlers(self) -> None:
        """Note signals from now on; only a process's main thread can."""
        if not self._before and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in HANDLED_SIGNALS}

    def restore_handlers(self) -> None:
        """Let signals act as they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
        for one in HANDLED_SIGNALS:
            signal.signal(one, signal.SIG_DFL)
