"""A regular output grid over a latent: per axis two short tables, never a coordinate per pixel."""

from typing import NamedTuple

import torch
from torch import Tensor

from moeisr_plugin.archs.coordinates import axis_neighbours, pixel_centers


class GridAxis(NamedTuple):
    """One axis of an output grid. V is 2 with a local ensemble, else 1."""

    coord: Tensor  # (N,) in [-1, 1]
    index: Tensor  # (V, N) neighbouring latents
    rel: Tensor  # (V, N) relative coordinates, in latents

    def part(self, start: int, stop: int) -> "GridAxis":
        """Output pixels start to stop alone."""
        return GridAxis(self.coord[start:stop], self.index[:, start:stop], self.rel[:, start:stop])


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
