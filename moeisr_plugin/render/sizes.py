"""Check the sizes, scales and coordinates that a caller asks for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from moeisr_plugin.render.window import Window

Scale = float | tuple[float, float]
Size = tuple[int, int]


def enlarged_size(height: int, width: int, *, scale: Scale | None = None, size: Size | None = None) -> Size:
    """Return the (height, width) of a picture after enlarging by a scale or to a size.

    Raises:
        ValueError: not exactly one of scale and size is given, it has a wrong form, or it does not enlarge.
    """
    if (scale is None) == (size is None):
        raise ValueError("give either scale or size")
    if size is None:
        scales = np.asarray(scale)
        if not _are_numbers(scales) or not (np.isfinite(scales) & (scales >= 1)).all():
            raise ValueError(f"scale is {scale}; give a number of at least 1, or two for y and x")
        scale_y, scale_x = np.broadcast_to(scales, 2).tolist()
        return round(height * scale_y), round(width * scale_x)
    rows, columns = _whole_numbers(size)
    if rows < height or columns < width:
        raise ValueError(
            f"size {size} is smaller than the picture, whose size is {(height, width)}; give a larger size, "
            f"or window=(0, 0, {height}, {width}) to reduce it"
        )
    return rows, columns


def size_of_window(window: Window, *, scale: Scale | None = None, size: Size | None = None) -> Size:
    """Return the (height, width) of a window after scaling it up or down. It has at least one pixel.

    Raises:
        ValueError: not exactly one of scale and size is given, or it has a wrong form.
    """
    if (scale is None) == (size is None):
        raise ValueError("give either scale or size")
    if size is None:
        scales = np.asarray(scale)
        if not _are_numbers(scales) or not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError(f"scale is {scale}; give a number greater than 0, or two for y and x")
        scale_y, scale_x = np.broadcast_to(scales, 2).tolist()
        return max(1, round(window.height * scale_y)), max(1, round(window.width * scale_x))
    rows, columns = _whole_numbers(size)
    if min(rows, columns) < 1:
        raise ValueError(f"size {size} has no pixels; give a height and a width of at least 1")
    return rows, columns


def checked_coordinates(coord: Any, cell: Any) -> tuple[np.ndarray, tuple[float, float]]:
    """Return coordinates (..., 2) in float64, and the height and width of an output pixel.

    Raises:
        ValueError: they have another form, or are not finite; one line with the remedy.
    """
    places, spacing = np.asarray(coord), np.asarray(cell)
    if places.dtype.kind not in "iuf" or places.ndim < 1 or places.shape[-1] != 2:
        raise ValueError(f"coord has shape {places.shape} of {places.dtype}; give numbers (..., 2), y and x")
    if not np.isfinite(places).all():
        raise ValueError("coord has NaN or Inf; give finite numbers, in [-1, 1] within the picture")
    if spacing.dtype.kind not in "iuf" or spacing.shape != (2,) or not np.isfinite(spacing).all():
        raise ValueError(f"cell is {cell}; give two finite numbers, height and width of an output pixel")
    if (spacing <= 0).any():
        raise ValueError(f"cell is {cell}; give a height and a width greater than 0, such as 2/H and 2/W")
    return places.astype(np.float64), (float(spacing[0]), float(spacing[1]))


def _are_numbers(scales: np.ndarray) -> bool:
    return scales.dtype.kind in "iuf" and scales.shape in ((), (2,))


def _whole_numbers(size: Sequence[int]) -> Size:
    sides = np.asarray(size)
    if sides.dtype.kind not in "iu" or sides.shape != (2,):
        raise ValueError(f"size is {size}; give two whole numbers, height and width")
    rows, columns = sides.tolist()
    return rows, columns
