"""Bound rendered values by the LR pixels around them, so that flat areas and hard edges of alpha stay clean.

A network overshoots next to an edge, and at the outer border, where it sees zeros beyond the picture.
Overshoot in proportion to the local contrast belongs to a sharp picture. Without contrast it is an error.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.render.window import Window, view_of

# LR pixels around a window that bounds within it may depend on, and one more for rounding.
_CONTEXT = 2


class Bounds:
    """Lowest and highest values allowed for output pixels, by the LR pixels around each.

    Args:
        lr: the LR picture (1, 3, h, w), float32.
        side: 3 for the LR pixel that contains an output pixel's centre and its 8 neighbours; 2 for the LR
            pixels whose four centres surround it.
        margin: how far a value may leave the range of those LR pixels, in units of that range.
        window: the part of the picture that has bounds. Defaults to the whole picture.
    """

    def __init__(self, lr: Tensor, *, side: int, margin: float, window: Window | None = None) -> None:
        self._lr_size = lr.shape[2:]
        self._window = window
        self._shift = 0.5 if side == 2 else 0
        area = (window or Window(0, 0, *self._lr_size)).area(self._lr_size, margin=_CONTEXT)
        self._first = [part.start for part in area]
        padded = F.pad(lr[..., area[0], area[1]], (1, 1, 1, 1), mode="replicate")
        highest = _pooled(torch.maximum, padded, side)  # (1, 3, h, w) for a side of 3, (1, 3, h+1, w+1) for 2
        lowest = _pooled(torch.minimum, padded, side)
        overshoot = margin * (highest - lowest)
        self._lower, self._upper = lowest - overshoot, highest + overshoot

    def clamp(self, band: Tensor, *, first_row: int, size: tuple[int, int]) -> Tensor:
        """Return output rows clamped to the bounds, in float32.

        Args:
            band: (1, 3, N, W), rows `first_row` to `first_row` + N of the output.
            first_row: number of the first row.
            size: (H, W) of the whole output, which shows the window.
        """
        view = view_of(self._lr_size, size, self._window)
        spans = (first_row, band.shape[2]), (0, size[1])
        rows, columns = (
            (axis.lr_pixels(*span, shift=self._shift) - first).to(band.device)
            for axis, span, first in zip(view, spans, self._first, strict=True)
        )
        lower, upper = (
            bound.index_select(2, rows).index_select(3, columns) for bound in (self._lower, self._upper)
        )  # (1, 3, N, W) each
        return band.float().clamp(lower, upper)

    def clamp_at(self, colours: Tensor, places: Tensor) -> Tensor:
        """Return colours clamped to the bounds, in float32.

        Args:
            colours: (Q, 3).
            places: (Q, 2) in LR pixels, y first, within the window.
        """
        nearest = (places + self._shift).floor().long()
        rows, columns = (nearest[:, axis] - first for axis, first in enumerate(self._first))
        rows, columns = (
            each.clamp(0, n - 1) for each, n in zip((rows, columns), self._lower.shape[2:], strict=True)
        )
        lower, upper = (bound[0, :, rows, columns].mT for bound in (self._lower, self._upper))  # (Q, 3) each
        return colours.float().clamp(lower, upper)


def colour_bounds(lr: Tensor, window: Window | None = None) -> Bounds:
    """Return bounds of colour, which change the PSNR of Set5 and Set14 by less than 0.001 dB."""
    return Bounds(lr, side=3, margin=1.0, window=window)


def alpha_bounds(lr: Tensor, window: Window | None = None) -> Bounds:
    """Return bounds of alpha, which never leaves the range around it: an overshoot is a visible halo."""
    return Bounds(lr, side=2, margin=0.0, window=window)


def _pooled(combine: Callable[[Tensor, Tensor], Tensor], image: Tensor, side: int) -> Tensor:
    """Combine each square of pixels of (1, C, h, w). Return (1, C, h - side + 1, w - side + 1).

    Torch's pooling takes 20 times as long on a CPU.

    Args:
        combine: `torch.maximum` or `torch.minimum`.
        image: the pixels.
        side: side of the squares.
    """
    for axis in (2, 3):
        shifted = [image.narrow(axis, shift, image.shape[axis] - side + 1) for shift in range(side)]
        image = functools.reduce(combine, shifted)
    return image
