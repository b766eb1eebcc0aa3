"""Which view of a page is the newest, so that older ones need no rendering."""

import threading
from collections import OrderedDict

_PAGES = 256
"""Pages that are remembered. A page that was forgotten only loses that its older views are dropped."""


class Newest:
    """Numbers of the newest view of each side of each page."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: OrderedDict[tuple[str, str], int] = OrderedDict()

    def announce(self, page: str, side: str, number: int) -> None:
        """Note that a page wants a view."""
        with self._lock:
            key = (page, side)
            self._numbers[key] = max(number, self._numbers.get(key, number))
            self._numbers.move_to_end(key)
            while len(self._numbers) > _PAGES:
                self._numbers.popitem(last=False)

    def is_older(self, page: str, side: str, number: int) -> bool:
        """Return whether the page has asked for a newer view."""
        with self._lock:
            return number < self._numbers.get((page, side), number)
