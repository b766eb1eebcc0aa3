"""Reduce rendered bands by area averages, so that outputs smaller than the picture do not alias."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F


def averaged(bands: Iterable[Tensor], factors: tuple[int, int]) -> Iterator[Tensor]:
    """Average blocks of pixels of a picture that comes in bands from the top.

    Args:
        bands: (1, C, N, W), any N. W and the sum of N are multiples of the factors.
        factors: rows and columns of a block.

    Yields:
        (1, C, N', W'), at least one row each.
    """
    if factors == (1, 1):
        yield from bands
        return
    rest: Tensor | None = None
    for band in bands:
        rows = band if rest is None else torch.cat([rest, band], dim=2)
        whole = rows.shape[2] // factors[0] * factors[0]
        if whole:
            yield F.avg_pool2d(rows[:, :, :whole], factors)
        rest = rows[:, :, whole:]
