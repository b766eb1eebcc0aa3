"""A picture in memory: stored pixels, and metadata to keep in the enlarged picture."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

ORIENTATION_TAG = 0x0112
METRES_PER_INCH = 0.0254
MAX_PER_METRE = 2**31 - 1
"""Largest resolution of PNG and BMP in pixels per metre (PNG 1.2, section 4.2.4.2)."""


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep the warnings of Pillow on damaged metadata, which is left out, off the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class PictureError(ValueError):
    """A picture cannot be read or written; the message is one line with the file and the remedy."""


class TooManyPixelsError(PictureError):
    """A picture has more pixels than the limit."""


class Header(NamedTuple):
    """Properties of a picture that are known without decoding."""

    height: int
    width: int
    has_alpha: bool
    is_grey: bool = False


@dataclass
class Picture:
    """A still picture.

    Attributes:
        pixels: (H, W) grey, (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGB and alpha; uint8 or
            uint16; alpha is not premultiplied. Rows and columns as stored, EXIF orientation not applied.
        icc_profile: the embedded colour profile; None usually means sRGB.
        exif: the EXIF block from its TIFF header on (without the ``Exif\\0\\0`` prefix), or None.
        dpi: horizontal and vertical pixels per inch, or None.
        png_colour: the chunks of a PNG that define its colour space; empty if there are none.
        note: one line on content that was not read, such as further frames, or None.
        xmp: the XMP packet, or None.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_colour: bytes = b""
    note: str | None = None
    xmp: bytes | None = None

    @property
    def has_alpha(self) -> bool:
        return self.pixels.ndim == 3 and self.pixels.shape[2] in (2, 4)

    def with_note(self, note: str | None) -> "Picture":
        """Return the picture with one more note, unless it is None."""
        return replace(self, note="; ".join(filter(None, (self.note, note))) or None)

    def exif_tags(self) -> Image.Exif:
        """Return the parsed EXIF block; empty if it is missing or unreadable."""
        tags = Image.Exif()
        try:
            with quiet_pillow():
                tags.load(self.exif or b"")
                len(tags)  # load() defers the parsing
        except Exception:  # damaged EXIF raises many types; only its tags are lost
            return Image.Exif()
        return tags

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8; 1 (upright) if the tag is missing or unreadable."""
        value = self.exif_tags().get(ORIENTATION_TAG, 1)
        return value if value in range(1, 9) else 1

    @property
    def swaps_axes(self) -> bool:
        """Whether the orientation swaps rows and columns, so the displayed width is the stored height."""
        return self.orientation >= 5

    def oriented_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Convert stored (height, width) to displayed (width, height), or back."""
        return size if self.swaps_axes else (size[1], size[0])


def plausible_dpi(dpi: Sequence[float] | None) -> tuple[float, float] | None:
    """Return a resolution, or None if no format can store it."""
    if dpi is None:
        return None
    x, y = float(dpi[0]), float(dpi[1])
    # Bounds after rounding to whole pixels per metre; NaN is outside.
    fits = all(0.5 < value / METRES_PER_INCH < MAX_PER_METRE + 0.5 for value in (x, y))
    return (x, y) if fits else None


def stored_window(
    window: tuple[float, float, float, float], size: tuple[int, int], orientation: int
) -> tuple[float, float, float, float]:
    """Return the window of stored pixels that `upright` turns into a displayed window.

    Args:
        window: top, left, bottom and right in pixels as displayed. Edges may be fractions.
        size: (H, W) as displayed.
        orientation: EXIF orientation, 1 to 8.
    """
    (top, left, bottom, right), (height, width) = window, size
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return (left, top, right, bottom) if orientation >= 5 else (top, left, bottom, right)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and mirror stored pixels according to the EXIF orientation.

    Args:
        pixels: (H, W) or (H, W, C).
        orientation: EXIF orientation, 1 to 8; other numbers count as 1.

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
