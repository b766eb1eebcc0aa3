"""Reduce pictures of 16 bits per sample for formats that hold 8."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from moeisr_plugin.pictures import Picture, holds_16_bits


def must_be_reduced(picture: Picture, output: Path) -> bool:
    """Return whether a picture has more bits per sample than the format of its output."""
    return picture.pixels.dtype == np.uint16 and not holds_16_bits(output)


def with_8_bits(picture: Picture) -> Picture:
    """Return the picture with 8 bits per sample."""
    return replace(picture, pixels=_to_8_bits(picture.pixels))


def bands_with_8_bits(bands: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield bands of 16 bits per sample with 8."""
    return map(_to_8_bits, bands)


def _to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Return the nearest 8-bit values; 65535 is 257 times 255."""
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
