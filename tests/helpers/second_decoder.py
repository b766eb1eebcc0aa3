"""Decode a picture by another library than the package does, and compare."""

import re

import cv2
import numpy as np

try:
    import pyvips
except ImportError:
    pyvips = None

BY_OPENCV = (".ppm", ".pgm", ".bmp")
"""Suffixes of formats that libvips does not read here."""
WHITE_IS_LARGEST = re.compile(rb"P[2356]\s(#.*\n)?\d+\s\d+\s(255|65535)\s")
"""PPM whose values OpenCV need not scale; it scales none."""


def decode(data: bytes, suffix: str, *, fail_on: str = "warning", turn: bool = True) -> np.ndarray | None:
    """Return pixels (H, W) or (H, W, C), or None where the other library reads no such file.

    Args:
        data: the content of the file.
        suffix: tells which library reads it.
        turn: apply the orientation.
        fail_on: what libvips takes for an error: ``error`` or ``warning``.
    """
    if suffix in BY_OPENCV:
        if data.startswith(b"P") and not WHITE_IS_LARGEST.match(data):
            return None
        if data.startswith(b"BM") and int.from_bytes(data[10:14], "little") != _end_of_palette(data):
            return None
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.ndim == 2:
            return pixels
        return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    if pyvips is None:
        return None
    try:
        image = pyvips.Image.new_from_buffer(data, "", fail_on=fail_on)
        pixels = (image.autorot() if turn else image).numpy()
    except pyvips.Error:
        return None
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def largest_difference(pixels: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of two pictures of one shape and dtype, in levels of 255."""
    levels = np.iinfo(expected.dtype).max
    return float(np.abs(pixels.astype(float) - expected).max() * (255 / levels))


def _end_of_palette(data: bytes) -> int:
    """Return where the pixels of a BMP begin if nothing lies between; other offsets are corrected or not."""
    size, bits, colours = (int.from_bytes(data[i : i + n], "little") for i, n in ((14, 4), (28, 2), (46, 4)))
    return 14 + size + (4 * (colours or 2**bits) if bits <= 8 else 0)


def disagreement(data: bytes, suffix: str, pixels: np.ndarray) -> str | None:
    """Return how upright pixels differ from those of the other library, or None.

    Libraries deliver palettes, CMYK and Lab in other forms, so only pictures of one form are compared. They
    read a damaged orientation in different ways, so the other library's may be turned or not.
    """
    found = None
    for turn in (True, False):
        second = decode(data, suffix, fail_on="error", turn=turn)
        found = None if second is None else _difference(pixels, second)
        if found is None:
            return None
    return found


def _difference(pixels: np.ndarray, second: np.ndarray) -> str | None:
    if second.shape[:2] != pixels.shape[:2]:
        return f"the size is {pixels.shape}, or {second.shape}"
    if second.shape != pixels.shape or second.dtype != pixels.dtype:
        return None
    difference = largest_difference(pixels, second)
    return f"a sample differs by {difference:.0f} of 255" if difference > 8 else None
