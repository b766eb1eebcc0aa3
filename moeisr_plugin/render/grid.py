"""A regular output grid over a latent, represented by short tables for each axis."""

from typing import NamedTuple

import torch
from torch import Tensor

from moeisr_plugin.archs.coordinates import axis_neighbours
from moeisr_plugin.render.window import AxisWindow


class GridAxis(NamedTuple):
    """One axis of an output grid: N output pixels, decoded from n latents in a row.

    V is 2 with a local ensemble, otherwise 1. P is the largest number of output pixels decoded from one
    latent. A slot is one of these P positions.

    Attributes:
        coord: (N,), coordinates of the output pixels in [-1, 1].
        index: (V, N), neighbouring latents of each output pixel in [0, n), increasing along N. Latent 0 is
            the first one that is needed.
        rel: (V, N), coordinate relative to the latent, in half latents.
        slot: (V, N), slot in [0, P) of the output pixel at its latent.
        offsets: (n, P), relative coordinate of each slot; 0 in unused slots.
        first: number of latent 0 in the picture.
    """

    coord: Tensor
    index: Tensor
    rel: Tensor
    slot: Tensor
    offsets: Tensor
    first: int = 0

    @property
    def latents(self) -> slice:
        """The n latents, as a slice of the picture."""
        return slice(self.first, self.first + len(self.offsets))

    def part(self, start: int, stop: int) -> "GridAxis":
        """Return the axis restricted to output pixels [start, stop)."""
        index, rel, slot = (t[:, start:stop] for t in (self.index, self.rel, self.slot))
        return self._replace(coord=self.coord[start:stop], index=index, rel=rel, slot=slot)

    def to(self, device: torch.device) -> "GridAxis":
        """Copy the tables to a device. On a GPU, the host does not wait for earlier kernels."""
        tables = self[:-1]
        if device.type != "cuda":
            return GridAxis(*(t.to(device) for t in tables), first=self.first)
        # Only copies from pinned memory are asynchronous.
        return GridAxis(*(t.pin_memory().to(device, non_blocking=True) for t in tables), first=self.first)

    def split(self, length: int) -> "list[GridAxis]":
        """Split the axis into parts of `length` output pixels. The last part may be shorter."""
        return [self.part(start, start + length) for start in range(0, len(self.coord), length)]


def grid_axis(
    size: int,
    latent_size: int,
    *,
    local_ensemble: bool,
    dtype: torch.dtype,
    span: tuple[float, float] | None = None,
) -> GridAxis:
    """Compute the tables of an axis on the CPU, for the latents that its output pixels are decoded from.

    Args:
        size: number N of output pixels.
        latent_size: number of latents of the picture.
        local_ensemble: use the latents on both sides of an output pixel instead of the nearest one.
        dtype: type of the coordinates.
        span: the places between which the output pixels lie, in latents. Defaults to the whole axis.
    """
    axis = AxisWindow(latent_size, *(span or (0, latent_size)), size)
    coord = axis.centres(dtype)
    index, rel = axis_neighbours(coord, latent_size, local_ensemble=local_ensemble)
    first, last = int(index.min()), int(index.max())
    index, count_of_latents = index - first, last - first + 1
    coord, rel = coord.to(dtype), rel.to(dtype)
    # At the border both neighbours are the same latent. They share a slot.
    duplicate = (index[0] == index[-1]) & torch.arange(len(index), device="cpu")[:, None].bool()  # (V, N)
    latent = index[~duplicate]  # (M,)
    count = torch.bincount(latent, minlength=count_of_latents)  # (n,)
    order = latent.argsort(stable=True)
    start = count.cumsum(0) - count  # (n,), start of each latent in this order
    rank = torch.empty_like(latent)  # of each output pixel among those of its latent
    rank[order] = torch.arange(len(latent), device="cpu") - start[latent[order]]
    slot = torch.empty_like(index)
    slot[~duplicate] = rank
    slot[duplicate] = slot[0, duplicate[-1]]
    offsets = rel.new_zeros(count_of_latents, int(count.max()))
    offsets[index, slot] = rel
    return GridAxis(coord, index, rel, slot, offsets, first)
