"""A picture in memory: its pixels as stored, and what must survive an enlargement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

ORIENTATION_TAG = 0x0112
METRES_PER_INCH = 0.0254
MOST_PER_METRE = 2**31 - 1
"""The finest resolution, in pixels per metre, that PNG allows (PNG 1.2, section 4.2.4.2); BMP has as many."""


class PictureError(ValueError):
    """A picture cannot be read or written; the message is one line naming the file and the remedy."""


class Header(NamedTuple):
    """What a picture tells without being decoded."""

    height: int
    width: int
    has_alpha: bool
    is_grey: bool = False


@dataclass
class Picture:
    """A still picture.

    Attributes:
        pixels: (H, W) grey, (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGB and alpha; uint8 or
            uint16; alpha not premultiplied. Rows and columns as stored, before any EXIF orientation.
        icc_profile: the embedded colour profile, or None (sRGB is then the custom).
        exif: the EXIF block from its TIFF header on (without the ``Exif\\0\\0`` prefix), or None.
        dpi: horizontal and vertical pixels per inch, or None.
        png_colour: of a PNG, the chunks that tell how its samples are colours, or nothing.
        note: one line on what reading left out (later frames, for one), or None.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_colour: bytes = b""
    note: str | None = None

    @property
    def has_alpha(self) -> bool:
        return self.pixels.ndim == 3 and self.pixels.shape[2] in (2, 4)

    def exif_tags(self) -> Image.Exif:
        """The EXIF block, parsed; empty where there is none or it cannot be read."""
        tags = Image.Exif()
        try:
            tags.load(self.exif or b"")
            len(tags)  # parses what loading put off
        except Exception:  # damaged EXIF raises about anything, and costs the picture no more than its tags
            return Image.Exif()
        return tags

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8; 1 (upright) where the tag is missing or unreadable."""
        value = self.exif_tags().get(ORIENTATION_TAG, 1)
        return value if value in range(1, 9) else 1

    @property
    def swaps_axes(self) -> bool:
        """Whether the displayed width is the stored height."""
        return self.orientation >= 5

    def oriented_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """From stored (height, width) to displayed (width, height), or back."""
        return size if self.swaps_axes else (size[1], size[0])


def plausible_dpi(dpi: Sequence[float] | None) -> tuple[float, float] | None:
    """A resolution as a file states it, or None where it is one that no format could be given."""
    if dpi is None:
        return None
    x, y = float(dpi[0]), float(dpi[1])
    # What rounds to 1 is as coarse as 1; not a number is in no range.
    fits = all(0.5 < value / METRES_PER_INCH < MOST_PER_METRE + 0.5 for value in (x, y))
    return (x, y) if fits else None


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors stored pixels into what the EXIF orientation says is displayed.

    Args:
        pixels: (H, W) or (H, W, C).
        orientation: EXIF orientation, 1 to 8; any other number counts as 1.

    Returns:
        (H, W[, C]) for orientations 1 to 4, (W, H[, C]) for 5 to 8.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
