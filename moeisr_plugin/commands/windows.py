"""Parse `--window`, and find the same part of a picture as it is stored."""

import argparse
import math
from dataclasses import dataclass

from moeisr_plugin.pictures import stored_window

PREFIX = "window"
"""Start of the label of a window, in the names of outputs."""


@dataclass(frozen=True)
class TargetWindow:
    """A part of a picture as displayed, in its pixels. Edges may be fractions."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def label(self) -> str:
        return f"{PREFIX}{self}"

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    @property
    def touched(self) -> tuple[int, int]:
        """Columns and rows of pixels that the window touches."""
        return (
            math.ceil(self.right) - math.floor(self.left),
            math.ceil(self.bottom) - math.floor(self.top),
        )

    def __str__(self) -> str:
        return ",".join(f"{edge:g}" for edge in (self.top, self.left, self.bottom, self.right))

    def stored(self, size: tuple[int, int], orientation: int) -> tuple[float, float, float, float]:
        """Return top, left, bottom and right of the same part of the stored picture.

        Args:
            size: displayed (width, height) of the picture.
            orientation: EXIF orientation, 1 to 8, see :func:`.upright`.
        """
        width, height = size
        edges = (self.top, self.left, self.bottom, self.right)
        return stored_window(edges, (height, width), orientation)


def parse_window(text: str) -> TargetWindow:
    """Parse ``10,20,40.5,60``: top, left, bottom and right."""
    remedy = "give TOP,LEFT,BOTTOM,RIGHT in pixels, as in 10,20,40.5,60"
    try:
        edges = [float(part) for part in text.split(",")]
    except ValueError:
        edges = []
    if len(edges) != 4 or not all(map(math.isfinite, edges)):
        raise argparse.ArgumentTypeError(f"'{text}' is not a window; {remedy}")
    top, left, bottom, right = edges
    if min(edges) < 0:
        raise argparse.ArgumentTypeError(f"'{text}' begins outside of the picture; {remedy}")
    if top >= bottom or left >= right:
        raise argparse.ArgumentTypeError(f"'{text}' is empty; {remedy}, with BOTTOM > TOP and RIGHT > LEFT")
    return TargetWindow(top, left, bottom, right)
