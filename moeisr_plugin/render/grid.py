"""A regular output grid over a latent: per axis a few short tables, never a coordinate per pixel."""

from typing import NamedTuple

import torch
from torch import Tensor

from moeisr_plugin.archs.coordinates import axis_neighbours, pixel_centers


class GridAxis(NamedTuple):
    """One axis of an output grid of N pixels. V is 2 with a local ensemble, else 1."""

    coord: Tensor  # (N,) in [-1, 1]
    index: Tensor  # (V, N) neighbouring latents
    rel: Tensor  # (V, N) relative coordinates, in latents

    def part(self, start: int, stop: int) -> "GridAxis":
        """Output pixels start to stop alone."""
        return GridAxis(self.coord[start:stop], self.index[:, start:stop], self.rel[:, start:stop])


class Surroundings(NamedTuple):
    """The same axis as the latents see it: each is asked for at most P output pixels."""

    rel: Tensor  # (n, P) where they are, relative to each of n latents; 0 where a latent is asked for fewer
    slot: Tensor  # (V, N) which of its latent's P each output pixel is


def grid_axis(
    size: int,
    latent_size: int,
    *,
    local_ensemble: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> GridAxis:
    """The tables of an axis of ``size`` output pixels over ``latent_size`` latents."""
    coord = pixel_centers(size, dtype=dtype, device=device)
    index, rel = axis_neighbours(coord, latent_size, local_ensemble=local_ensemble)
    return GridAxis(coord, index, rel)


def surroundings(axis: GridAxis, latent_size: int) -> Surroundings:
    """What each of ``latent_size`` latents is asked for."""
    latent = axis.index.flatten()  # (V*N,)
    asked = torch.bincount(latent, minlength=latent_size)  # (n,)
    order = latent.argsort(stable=True)
    first = asked.cumsum(0) - asked  # where each latent's run begins in that order
    slot = torch.empty_like(latent)
    slot[order] = torch.arange(len(latent), device=latent.device) - first[latent[order]]
    rel = axis.rel.new_zeros(latent_size, int(asked.max()))
    rel[latent, slot] = axis.rel.flatten()
    return Surroundings(rel, slot.view_as(axis.index))
