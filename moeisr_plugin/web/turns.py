"""One computation at a time: views go first, encodings and files make way for them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Give computations of several threads their turns."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_taken = False
        self._urgent = 0

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Compute before all others that wait."""
        with self._changed:
            self._urgent += 1
            try:
                self._changed.wait_for(lambda: not self._is_taken)
                self._is_taken = True
            finally:
                self._urgent -= 1
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Compute when nothing urgent waits."""
        self._take_patiently()
        try:
            yield
        finally:
            self._release()

    def make_way(self) -> None:
        """Let what is urgent compute. Call it within `patient`, between two steps."""
        if self._urgent:
            self._release()
            self._take_patiently()

    def _take_patiently(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken and not self._urgent)
            self._is_taken = True

    def _release(self) -> None:
        with self._changed:
            self._is_taken = False
            self._changed.notify_all()
