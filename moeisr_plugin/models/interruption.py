"""Signal handling that ends a training between two iterations."""

import signal
import threading
from types import FrameType
from typing import Any

HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Records a SIGTERM or SIGINT, which the training checks after each iteration.

    A second signal ends the process immediately.

    Attributes:
        signal_name: name of the received signal, or None.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def install_handlers(self) -> None:
        """Install the handlers, once; does nothing outside the main thread, where Python forbids it."""
        if not self._before and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in HANDLED_SIGNALS}

    def restore_handlers(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
        for each in HANDLED_SIGNALS:
            signal.signal(each, signal.SIG_DFL)
