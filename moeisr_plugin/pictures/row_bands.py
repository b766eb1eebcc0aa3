"""Pictures that come in bands of rows, from the top, so that they need not fit into memory."""

from collections.abc import Iterable, Iterator

import numpy as np


def check_bands(
    bands: Iterable[np.ndarray], *, like: np.ndarray, size: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Passes on bands that make up one picture.

    Args:
        bands: (N, W) or (N, W, C), any N.
        like: pixels of any size, with the channels and the dtype of the bands.
        size: (H, W) of the picture.

    Raises:
        ValueError: a band of another layout, or too few or too many rows in all.
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
    """The picture that bands make up, which is in memory once; arguments and errors as of `check_bands`.

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
    """The same rows in bands of a given height; the last may be lower."""
    held: list[np.ndarray] = []
    missing = height
    for band in bands:
        while len(band):
            held.append(band[:missing])
            missing -= len(held[-1])
            band = band[len(held[-1]) :]
            if not missing:
                yield np.concatenate(held)
                held, missing = [], height
    if held:
        yield np.concatenate(held)
