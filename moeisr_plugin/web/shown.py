"""Pixels as a browser shows them: upright sRGB of 8 bits, as PNG."""

import io

import numpy as np
from PIL import Image

from moeisr_plugin.pictures import Picture, upright
from moeisr_plugin.pictures.colour import to_srgb

_PNG_LEVEL = 1
"""Compression of views: the time of a higher level is longer than that of the transfer on one machine."""


def shown_pixels(pixels: np.ndarray, like: Picture) -> np.ndarray:
    """Convert stored pixels for showing.

    Args:
        pixels: (H, W) or (H, W, C) with the channels, type and profile of a picture.
        like: the picture.

    Returns:
        (H, W, 3) or (H, W, 4) uint8 sRGB, turned by the orientation of the picture.
    """
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    planes = pixels.reshape(*pixels.shape[:2], -1)  # (H, W, C)
    alpha = planes[..., -1:] if like.has_alpha else None
    colour = planes[..., :-1] if like.has_alpha else planes
    colour = _srgb(colour, like.icc_profile)
    return upright(colour if alpha is None else np.concatenate([colour, alpha], axis=2), like.orientation)


def png_of(pixels: np.ndarray) -> bytes:
    """Return a PNG of (H, W), (H, W, 3) or (H, W, 4) uint8."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()


def palette_png(numbers: np.ndarray, colours: np.ndarray) -> bytes:
    """Return a PNG of numbers (H, W) uint8 in [0, J) and their colours (J, 3) uint8."""
    image = Image.fromarray(np.ascontiguousarray(numbers)).convert("P")
    image.putpalette(colours.tobytes())
    image.frombytes(np.ascontiguousarray(numbers).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()


def _srgb(colour: np.ndarray, icc_profile: bytes | None) -> np.ndarray:
    """Return sRGB (H, W, 3) of grey (H, W, 1) or RGB (H, W, 3)."""
    if icc_profile is None:
        return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour
    image = Image.fromarray(np.ascontiguousarray(colour[..., 0] if colour.shape[2] == 1 else colour))
    return np.asarray(to_srgb(image, icc_profile))
