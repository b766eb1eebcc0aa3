"""Pictures as iterators of row bands from the top, for pictures larger than memory."""

from collections.abc import Iterable, Iterator

import numpy as np


def check_bands(
    bands: Iterable[np.ndarray], *, like: np.ndarray, size: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Yield the bands of one picture, and check their shape, dtype and number of rows.

    Args:
        bands: (N, W) or (N, W, C), any N.
        like: pixels of any size, with the channels and the dtype of the bands.
        size: (H, W) of the picture.

    Raises:
        ValueError: a band has another layout, or there are too few or too many rows.
    """
    height, width = size
    layout = (width, *like.shape[2:])
    rows = 0
    for band in bands:
        if band.shape[1:] != layout or band.dtype != like.dtype:
            raise ValueError(f"a band of {band.dtype} {band.shape[1:]} in a picture of {like.dtype} {layout}")
        rows += len(band)
        if rows > height:
            break
        yield band
    if rows != height:
        raise ValueError(f"bands with {rows} rows or more for a picture of {height}")


def join_bands(bands: Iterable[np.ndarray], *, like: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Copy bands into one array. Arguments and errors are those of `check_bands`.

    Returns:
        (H, W) or (H, W, C).
    """
    pixels = np.empty((*size, *like.shape[2:]), like.dtype)
    start = 0
    for band in check_bands(bands, like=like, size=size):
        pixels[start : start + len(band)] = band
        start += len(band)
    return pixels


def regroup_bands(bands: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """Yield the same rows in bands of the given height; the last band may have fewer rows."""
    parts: list[np.ndarray] = []
    missing = height
    for band in bands:
        while len(band):
            parts.append(band[:missing])
            missing -= len(parts[-1])
            band = band[len(parts[-1]) :]
            if not missing:
                yield np.concatenate(parts)
                parts, missing = [], height
    if parts:
        yield np.concatenate(parts)
