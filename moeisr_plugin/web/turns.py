"""Turns of long computations: they alternate step by step, and pause while a view is rendered."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Give computations of several threads their turns.

    A view begins at once, beside the present step of a long computation. The next step waits for its end.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._urgent = 0
        self._queue: deque[int] = deque()  # threads; the first one computes

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Compute at once."""
        with self._changed:
            self._urgent += 1
        try:
            yield
        finally:
            with self._changed:
                self._urgent -= 1
                self._changed.notify_all()

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Compute when nothing urgent is computed, and no other patient computation."""
        with self._changed:
            self._queue.append(threading.get_ident())
            self._wait()
        try:
            yield
        finally:
            with self._changed:
                self._queue.remove(threading.get_ident())
                self._changed.notify_all()

    def make_way(self) -> None:
        """Let all others compute that wait. Call it within `patient`, between two steps."""
        with self._changed:
            self._queue.rotate(-1)
            self._changed.notify_all()
            self._wait()

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until nothing is computed, and return whether that is so before the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._urgent, seconds)

    def _wait(self) -> None:
        own = threading.get_ident()
        self._changed.wait_for(lambda: self._queue[0] == own and not self._urgent)
