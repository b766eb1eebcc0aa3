"""Tables of one axis of an output grid, by operations that every exporter knows.

They hold the numbers of :mod:`moeisr_plugin.render.grid`, without loops over pixels, and with sizes that are
tensors.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from moeisr_plugin.archs.coordinates import EPSILON


class Axis(NamedTuple):
    """One axis: N output pixels, decoded from the n LR pixels of a tile.

    V is 2 with a local ensemble, otherwise 1. P is the largest number of output pixels decoded from one LR
    pixel. A slot is one of these P positions.

    Attributes:
        index: (V, N), neighbouring LR pixels of each output pixel in [0, n).
        rel: (V, N), coordinate relative to the LR pixel, in half LR pixels.
        slot: (V, N), slot of the output pixel at its LR pixel.
        offsets: (n, P), relative coordinate of each slot. Slots that are not used have any.
        used: (n,), whether any output pixel is decoded from the LR pixel.
        place: (N,), the output pixels in LR pixels, from the centre of LR pixel 0, within the picture.
    """

    index: Tensor
    rel: Tensor
    slot: Tensor
    offsets: Tensor
    used: Tensor
    place: Tensor


def axis_tables(
    pixels: Tensor, total: Tensor, n: Tensor, first: Tensor, tile: Tensor, *, local_ensemble: bool
) -> Axis:
    """Compute the tables.

    Args:
        pixels: (N,) int64, adjacent output pixels.
        total: number of output pixels of the whole picture, int64.
        n: number of LR pixels of the whole picture, int64.
        first: the first LR pixel of the tile, int64.
        tile: (n',), 0 to the number of LR pixels of the tile, int64.
        local_ensemble: use the LR pixels on both sides of an output pixel instead of the nearest one.
    """
    # float64 until the scalars are rounded, as Python's floats are in `coordinates`.
    length, of_all = n.double(), total.double()
    coord = _centres(pixels, of_all)
    shifts = [-1 / length + EPSILON, 1 / length + EPSILON] if local_ensemble else [0 * length]
    shifted = torch.stack([coord + shift.float() for shift in shifts]).clamp(-1 + EPSILON, 1 - EPSILON)
    nearest = (((shifted + 1) * length.float() - 1) / 2).round().long()  # (V, N)
    nearest = torch.minimum(nearest.clamp(min=0), n - 1)
    rel = (coord - _centres(nearest, length)) * length.float()
    index = nearest - first
    # The output pixels of an LR pixel are adjacent: from `start` to `stop`.
    start = (index[-1] < tile[:, None]).sum(1)  # (n',)
    stop = (index[0] <= tile[:, None]).sum(1)  # (n',)
    position = torch.arange(pixels.shape[0], device=pixels.device)  # (N,)
    slots = position[position < (stop - start).max()]  # (P,)
    slot = position - start[index]
    decoded = torch.minimum(start[:, None] + slots, position[-1])  # (n', P)
    offsets = (coord[decoded] - _centres(tile + first, length)[:, None]) * length.float()
    place = ((coord + 1) * length.float() - 1) / 2
    place = torch.minimum(place.clamp(min=0), (length - 1).float()) - first.float()
    return Axis(index, rel, slot, offsets, stop > start, place)


def _centres(pixels: Tensor, n: Tensor) -> Tensor:
    """Return the coordinates of pixels among n, float32. See :func:`.pixel_centers`."""
    return (-1 + 1 / n).float() + (2 / n).float() * pixels.float()
