"""The pictures that the server holds for a while, each under a name that cannot be guessed."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from moeisr_plugin.pictures import Picture
from moeisr_plugin.web.limits import Limits
from moeisr_plugin.web.refused import RefusedError
from moeisr_plugin.web.shown import shown_pixels


@dataclass
class HeldPicture:
    """A picture that a page shows.

    Attributes:
        name: name of the file, for the page and for downloads.
        picture: the picture as read.
        shown: (H, W, 3) or (H, W, 4) sRGB of 8 bits, upright: what a browser shows.
        key: the name in requests.
        used: time of the last use, in seconds.
    """

    name: str
    picture: Picture
    shown: np.ndarray
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    used: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) as displayed."""
        return self.shown.shape[0], self.shown.shape[1]


class HeldPictures:
    """Hold pictures up to a number and a time.

    Args:
        limits: the number and the time.
        clock: the present time in seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, HeldPicture] = {}

    def add(self, name: str, picture: Picture) -> HeldPicture:
        """Hold a picture. The one that was used least recently makes room."""
        held = HeldPicture(name, picture, shown_pixels(picture.pixels, picture), used=self._clock())
        with self._lock:
            self._held[held.key] = held
            while len(self._held) > self._limits.pictures:
                del self._held[min(self._held, key=lambda key: self._held[key].used)]
        return held

    def get(self, key: str) -> HeldPicture:
        """Return a picture.

        Raises:
            RefusedError: it is not held, or no longer.
        """
        with self._lock:
            held = self._held.get(key)
            if held is None:
                raise RefusedError("this picture is no longer held; open it again", 404)
            held.used = self._clock()
            return held

    def forget(self, key: str) -> None:
        """Forget a picture, if it is held."""
        with self._lock:
            self._held.pop(key, None)

    def forget_idle(self) -> None:
        """Forget the pictures that nobody has used for a while."""
        with self._lock:
            oldest = self._clock() - self._limits.idle_seconds
            self._held = {key: held for key, held in self._held.items() if held.used >= oldest}

    def holds(self, key: str) -> bool:
        """Return whether a picture is held. This is no use of it."""
        with self._lock:
            return key in self._held
