"""Pictures that a notebook shows when they are the last value of a cell."""

import io
import math

import numpy as np
from PIL import Image

from .alpha import to_unit_planes

LARGEST = 800
"""Longest side of a picture in a notebook. Larger ones are reduced, so that notebooks stay small."""
SMALLEST = 400
"""Longest side that small arrays of LR pixels are repeated to."""


class ShownArray(np.ndarray):
    """An array that a notebook shows as a picture, as long as it has the shape of one.

    In all else it is a plain array. `numpy.asarray` makes it one.
    """

    def _repr_png_(self) -> bytes | None:
        """Return a PNG in which each pixel is a square, or None if this is no picture."""
        if self.ndim != 3 or self.shape[2] not in (3, 4) or self.dtype != np.uint8 or not self.size:
            return None
        times = max(1, SMALLEST // max(self.shape[:2]))
        return notebook_png(np.asarray(self).repeat(times, axis=0).repeat(times, axis=1))


def shown_array(pixels: np.ndarray) -> ShownArray:
    """Return a view of pixels that a notebook shows."""
    return pixels.view(ShownArray)


def notebook_png(pixels: np.ndarray) -> bytes:
    """Return a PNG of a picture with 8 bits per sample, reduced if it is large.

    Args:
        pixels: (H, W) or (H, W, C), see `to_unit_planes`.
    """
    if pixels.dtype != np.uint8:
        colour, alpha, _ = to_unit_planes(pixels)
        planes = colour if alpha is None else np.concatenate([colour, alpha[..., None]], axis=2)
        pixels = np.rint(planes.clip(0, 1) * 255).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    factor = math.ceil(max(image.size) / LARGEST)
    if factor > 1:
        image = image.reduce(factor)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
