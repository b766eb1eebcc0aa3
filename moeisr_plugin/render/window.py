"""Windows of an LR picture, and the output pixels over them.

Places are in LR pixels: the picture of h x w LR pixels lies between 0 and h, and 0 and w.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from moeisr_plugin.archs.coordinates import pixel_centers

# Output pixels by which a window may miss the grid of a whole rendering and still be a part of it. Windows
# that are computed from sizes miss it by rounding errors.
_OFF_GRID = 1e-5
# LR pixels by which a window may reach beyond the picture, because of rounding errors.
_BEYOND = 1e-6
# float32 holds all whole numbers up to this one.
_LARGEST_GRID = 2**24


class Window(NamedTuple):
    """A rectangle in an LR picture, in LR pixels. Edges may be fractions."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def width(self) -> float:
        return self.right - self.left

    def area(self, lr_size: Sequence[int], *, margin: int = 0) -> tuple[slice, slice]:
        """Return the rows and columns of LR pixels that the window touches, and `margin` more around them."""
        edges = ((self.top, self.bottom, lr_size[0]), (self.left, self.right, lr_size[1]))
        rows, columns = (
            slice(max(0, math.floor(start) - margin), min(n, math.ceil(stop) + margin))
            for start, stop, n in edges
        )
        return rows, columns


class AxisWindow(NamedTuple):
    """Output pixels between two places along one axis of an LR picture.

    Attributes:
        length: LR pixels of the whole axis.
        start, stop: the places, in LR pixels.
        size: number of output pixels between them.
    """

    length: int
    start: float
    stop: float
    size: int

    @property
    def total(self) -> float:
        """Output pixels that the whole axis would have at this scale. Exact where it is a whole number."""
        grid = self._grid()
        return self.size * self.length / (self.stop - self.start) if grid is None else grid[0]

    @property
    def reduction(self) -> int:
        """The smallest factor by which the output must be finer to have a pixel for each LR pixel."""
        return max(1, math.ceil((self.stop - self.start) / self.size * (1 - 1e-9)))

    def centres(self, dtype: torch.dtype) -> Tensor:
        """Return the coordinates of the output pixels in [-1, 1], (size,).

        Where they are pixels of a whole rendering, they are the same numbers in `dtype`. Elsewhere they are
        in float64.
        """
        grid = self._grid()
        if grid is not None:
            total, first = grid
            return pixel_centers(total, first=first, count=self.size, dtype=dtype, device="cpu")
        return 2 * self._places() / self.length - 1

    def lr_pixels(self, first: int, count: int, *, shift: float = 0) -> Tensor:
        """Return the LR pixels that contain the centres of output pixels, moved by `shift` of 0 or 0.5.

        Args:
            first: the first output pixel.
            count: number of output pixels.
            shift: LR pixels by which the centres are moved.
        """
        grid = self._grid()
        if grid is not None:  # whole numbers decide exactly on which side of an edge a centre is
            total, offset = grid
            pixel = torch.arange(offset + first, offset + first + count, device="cpu")
            return ((2 * pixel + 1) * self.length + round(2 * shift) * total) // (2 * total)
        return (self._places()[first : first + count] + shift).floor().long()

    def _places(self) -> Tensor:
        """Return the centres of the output pixels in LR pixels, float64."""
        step = (self.stop - self.start) / self.size
        return self.start + step * (torch.arange(self.size, dtype=torch.float64, device="cpu") + 0.5)

    def _grid(self) -> tuple[int, int] | None:
        """Return the size of the whole rendering that has these pixels, and the number of the first one."""
        total = round(self.size * self.length / (self.stop - self.start))
        first = round(self.start * total / self.length)
        off = (
            abs(place * total / self.length - pixel)
            for place, pixel in ((self.start, first), (self.stop, first + self.size))
        )
        return (total, first) if total <= _LARGEST_GRID and max(off) <= _OFF_GRID else None


class View(NamedTuple):
    """The output pixels over a window: its rows and its columns."""

    rows: AxisWindow
    columns: AxisWindow

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the output."""
        return self.rows.size, self.columns.size

    @property
    def reduction(self) -> tuple[int, int]:
        """Factors by which :meth:`finer` has more rows and columns; 1 where the output has enough."""
        return self.rows.reduction, self.columns.reduction

    def finer(self) -> "View":
        """Return the smallest multiple of the output with at least one pixel for each LR pixel."""
        return View(*(axis._replace(size=axis.size * axis.reduction) for axis in self))


def view_of(lr_size: Sequence[int], size: tuple[int, int], window: Window | None = None) -> View:
    """Return the output pixels over a window, by default over the whole picture.

    Args:
        lr_size: (h, w) of the LR picture.
        size: (H, W) of the output.
        window: a part of the picture.
    """
    height, width = map(int, lr_size)  # under torch.jit.trace, sizes are tensors
    top, left, bottom, right = window or Window(0, 0, height, width)
    return View(AxisWindow(height, top, bottom, size[0]), AxisWindow(width, left, right, size[1]))


def checked_window(window: Any, lr_size: Sequence[int]) -> Window:
    """Return a window given as four numbers: top, left, bottom and right, in LR pixels.

    Raises:
        ValueError: it has another form, is empty, or reaches beyond the picture; one line with the remedy.
    """
    try:
        edges = np.asarray(window)
    except ValueError:  # lists of different lengths
        edges = np.empty(0)
    if edges.dtype.kind not in "iuf" or edges.shape != (4,) or not np.isfinite(edges).all():
        raise ValueError(
            f"window is {window}; give four finite numbers: top, left, bottom and right, in pixels of the "
            "picture"
        )
    top, left, bottom, right = (float(edge) for edge in edges)
    shown, (height, width) = f"window {top:g},{left:g},{bottom:g},{right:g}", lr_size
    if top >= bottom or left >= right:
        raise ValueError(f"{shown} is empty; give a bottom greater than the top, and a right than the left")
    if min(top, left) < -_BEYOND or bottom > height + _BEYOND or right > width + _BEYOND:
        raise ValueError(
            f"{shown} reaches beyond the picture; give edges between 0 and {height} for top and bottom, and "
            f"between 0 and {width} for left and right"
        )
    return Window(max(0.0, top), max(0.0, left), min(float(height), bottom), min(float(width), right))
