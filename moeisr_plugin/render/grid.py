"""A regular output grid over a latent: per axis a few short tables, never a coordinate per pixel."""

from typing import NamedTuple

import torch
from torch import Tensor

from moeisr_plugin.archs.coordinates import axis_neighbours, pixel_centers


class GridAxis(NamedTuple):
    """One axis of an output grid: N output pixels over n latents.

    V is 2 with a local ensemble, else 1. P is the most output pixels that are decoded from one latent.
    """

    coord: Tensor  # (N,) in [-1, 1]
    index: Tensor  # (V, N) neighbouring latents, growing along N
    rel: Tensor  # (V, N) relative coordinates, in latents
    slot: Tensor  # (V, N) which of its latent's P output pixels each is
    offsets: Tensor  # (n, P) relative coordinates of those P; 0 where a latent is asked for fewer

    def part(self, start: int, stop: int) -> "GridAxis":
        """Output pixels start to stop alone."""
        index, rel, slot = (t[:, start:stop] for t in (self.index, self.rel, self.slot))
        return GridAxis(self.coord[start:stop], index, rel, slot, self.offsets)

    def to(self, device: torch.device) -> "GridAxis":
        """The same tables on a device, without the host waiting for what that still computes."""
        if device.type != "cuda":
            return GridAxis(*(t.to(device) for t in self))
        # From memory that stays in its place, or a copy would wait for its turn.
        return GridAxis(*(t.pin_memory().to(device, non_blocking=True) for t in self))

    def split(self, length: int) -> "list[GridAxis]":
        """Parts of so many output pixels, the last one of what is left."""
        return [self.part(start, start + length) for start in range(0, len(self.coord), length)]


def grid_axis(
    size: int,
    latent_size: int,
    *,
    local_ensemble: bool,
    dtype: torch.dtype,
) -> GridAxis:
    """The tables of an axis of ``size`` output pixels over ``latent_size`` latents, on the processor."""
    coord = pixel_centers(size, dtype=dtype, device="cpu")
    index, rel = axis_neighbours(coord, latent_size, local_ensemble=local_ensemble)
    # At the rim both neighbours are the same latent, which answers once.
    both = (index[0] == index[-1]) & torch.arange(len(index), device="cpu")[:, None].bool()  # (V, N)
    latent = index[~both]  # (M,)
    asked = torch.bincount(latent, minlength=latent_size)  # (n,)
    order = latent.argsort(stable=True)
    first = asked.cumsum(0) - asked  # where each latent's run begins in that order
    place = torch.empty_like(latent)
    place[order] = torch.arange(len(latent), device="cpu") - first[latent[order]]
    slot = torch.empty_like(index)
    slot[~both] = place
    slot[both] = slot[0, both[-1]]
    offsets = rel.new_zeros(latent_size, int(asked.max()))
    offsets[index, slot] = rel
    return GridAxis(coord, index, rel, slot, offsets)
