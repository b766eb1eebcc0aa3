"""Where queries are: pixel centres, cells, and the latents a query is decoded from.

A coordinate is (y, x) in [-1, 1]², a cell the size (2/H, 2/W) of one output pixel (LIIF, section 3).
"""

from typing import NamedTuple

import torch
from torch import Tensor

# LIIF moves a query by this much on top of half a latent, so that a query exactly between two latents
# rounds the same way everywhere, and keeps it this far inside the picture.
_EPSILON = 1e-6
# Keeps a query that lies on a latent's centre from dividing by zero.
MIN_AREA = 1e-9


class Neighbours(NamedTuple):
    """The V latents each query is decoded from: 4 with a local ensemble, else 1."""

    index: Tensor  # (V, B, Q) row of the latent in a table flattened from (B, h, w)
    rel: Tensor  # (V, B, Q, 2) from the latent to the query, in latents: [-1, 1] but for the picture's rim
    weight: Tensor  # (V, B, Q) sums to 1 over V

    def blend(self, answers: Tensor) -> Tensor:
        """The neighbours' answers (V*B*Q, C) by their weights, (B, Q, C)."""
        return (answers.view(*self.weight.shape, -1) * self.weight[..., None]).sum(0)


def pixel_centers(
    n: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Centres of n pixels side by side in [-1, 1]: -1 + (2i + 1)/n, shape (n,)."""
    # The order of operations is LIIF's: in float32 it decides on which side of a latent a query falls.
    return -1 + 1 / n + (2 / n) * torch.arange(n, dtype=dtype or torch.get_default_dtype(), device=device)


def make_coord(
    height: int, width: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Coordinates of every pixel of a picture, row by row, shape (height * width, 2)."""
    y = pixel_centers(height, dtype=dtype, device=device)
    x = pixel_centers(width, dtype=dtype, device=device)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)  # (H*W, 2)


def axis_neighbours(coord: Tensor, n: int, *, local_ensemble: bool) -> tuple[Tensor, Tensor]:
    """The latents nearest to coordinates along one axis.

    Args:
        coord: coordinates along the axis, any shape.
        n: latents along the axis.
        local_ensemble: one latent on either side of the coordinate, instead of the nearest one.

    Returns:
        index (2 or 1, *coord.shape) in [0, n), and the coordinate relative to it, in latents.
    """
    shifts = [-1 / n + _EPSILON, 1 / n + _EPSILON] if local_ensemble else [0.0]
    shifted = torch.stack([coord + shift for shift in shifts]).clamp(-1 + _EPSILON, 1 - _EPSILON)
    index = (((shifted + 1) * n - 1) / 2).round().long().clamp(0, n - 1)
    centers = pixel_centers(n, dtype=coord.dtype, device=coord.device)
    return index, (coord - centers[index]) * n


def ensemble_weights(rel_y: Tensor, rel_x: Tensor) -> Tensor:
    """Weight of each neighbour: the area of the rectangle diagonally opposite (LIIF, Eq. 4).

    Args:
        rel_y, rel_x: (V, ...) relative coordinates in the order of :func:`neighbours`, broadcastable.

    Returns:
        (V, ...), summing to 1 over V.
    """
    area = (rel_y * rel_x).abs() + MIN_AREA
    return area.flip(0) / area.sum(0)


def neighbours(coord: Tensor, height: int, width: int, *, local_ensemble: bool = True) -> Neighbours:
    """The latents of an (height, width) grid that each query is decoded from.

    Args:
        coord: (B, Q, 2) in [-1, 1].
        height, width: size of the latent.
        local_ensemble: decode from the four latents around the query (in the order of the signs
            --, -+, +-, ++ of their offsets in y and x), instead of the nearest one.
    """
    index_y, rel_y = axis_neighbours(coord[..., 0], height, local_ensemble=local_ensemble)
    index_x, rel_x = axis_neighbours(coord[..., 1], width, local_ensemble=local_ensemble)
    per_axis = index_y.shape[0]
    index_y, rel_y = (t.repeat_interleave(per_axis, 0) for t in (index_y, rel_y))  # (V, B, Q)
    index_x, rel_x = (t.repeat(per_axis, 1, 1) for t in (index_x, rel_x))  # (V, B, Q)
    sample = torch.arange(coord.shape[0], device=coord.device)[:, None]  # (B, 1)
    return Neighbours(
        index=(sample * height + index_y) * width + index_x,
        rel=torch.stack([rel_y, rel_x], dim=-1),
        weight=ensemble_weights(rel_y, rel_x),
    )
