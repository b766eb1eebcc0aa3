"""Pixel centres, and the latents from which a query is decoded.

A query is a coordinate (y, x) in [-1, 1]². A cell is the size (2/H, 2/W) of an output pixel (LIIF,
section 3).
"""

from typing import NamedTuple

import torch
from torch import Tensor

# LIIF shifts a query by this much in addition to half a latent. Queries exactly between two latents thus
# always round the same way. LIIF also clamps shifted queries to this distance from the image border.
EPSILON = 1e-6
# Avoids a division by zero for a query at the centre of a latent.
MIN_AREA = 1e-9


class Neighbours(NamedTuple):
    """The V latents from which each query is decoded: 4 with a local ensemble, otherwise 1.

    Attributes:
        index: (V, B, Q), row of the latent in a table flattened from (B, h, w).
        rel: (V, B, Q, 2), coordinate of the query relative to the latent, in half latents, y first.
            It is in [-2, 2] with a local ensemble, otherwise in [-1, 1].
        weight: (V, B, Q), weight in the local ensemble; sums to 1 over V.
    """

    index: Tensor
    rel: Tensor
    weight: Tensor

    def blend(self, outputs: Tensor) -> Tensor:
        """Average the outputs at the neighbours, (V*B*Q, C), by weight. Return (B, Q, C)."""
        outputs = outputs.view(*self.weight.shape, -1)  # (V, B, Q, C)
        return (outputs * self.weight[..., None]).sum(0)


def pixel_centers(
    n: int,
    *,
    first: int = 0,
    count: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the centres of n adjacent pixels that fill [-1, 1]: -1 + (2i + 1)/n, shape (n,).

    Args:
        n: number of pixels.
        first: the first pixel to return.
        count: number of pixels to return. Defaults to all from `first` on.
        dtype, device: of the result.
    """
    stop = n if count is None else first + count
    pixel = torch.arange(first, stop, dtype=dtype or torch.get_default_dtype(), device=device)
    # Same order of operations as in LIIF. In float32 it decides which latent is nearest to a query.
    return -1 + 1 / n + (2 / n) * pixel


def make_coord(
    height: int, width: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Return the (y, x) coordinates of all pixels of an image, row by row, shape (height * width, 2)."""
    y = pixel_centers(height, dtype=dtype, device=device)
    x = pixel_centers(width, dtype=dtype, device=device)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)  # (H*W, 2)


def axis_neighbours(coord: Tensor, n: int, *, local_ensemble: bool) -> tuple[Tensor, Tensor]:
    """Find the latents nearest to coordinates along one axis.

    Args:
        coord: coordinates in [-1, 1], any shape.
        n: number of latents along the axis.
        local_ensemble: return the latents on both sides of the coordinate instead of the nearest one.

    Returns:
        Indices in [0, n) and the coordinates relative to them, in half latents. Both have the shape
        (2, *coord.shape) with a local ensemble, otherwise (1, *coord.shape).
    """
    shifts = [-1 / n + EPSILON, 1 / n + EPSILON] if local_ensemble else [0.0]
    shifted = torch.stack([coord + shift for shift in shifts]).clamp(-1 + EPSILON, 1 - EPSILON)
    index = (((shifted + 1) * n - 1) / 2).round().long().clamp(0, n - 1)
    centers = pixel_centers(n, dtype=coord.dtype, device=coord.device)
    return index, (coord - centers[index]) * n


def ensemble_weights(rel_y: Tensor, rel_x: Tensor) -> Tensor:
    """Weight each neighbour by the area of the diagonally opposite rectangle (LIIF, Eq. 4).

    Args:
        rel_y: (V, ...), relative coordinates in the order of :func:`neighbours`.
        rel_x: likewise, broadcastable with `rel_y`.

    Returns:
        (V, ...), sums to 1 over V.
    """
    area = (rel_y * rel_x).abs() + MIN_AREA
    # Reversing the order of :func:`neighbours` gives the diagonally opposite neighbour.
    return area.flip(0) / area.sum(0)


def neighbours(coord: Tensor, height: int, width: int, *, local_ensemble: bool = True) -> Neighbours:
    """Find the latents from which each query is decoded.

    Args:
        coord: (B, Q, 2) in [-1, 1], y first.
        height: number of rows of latents.
        width: number of columns of latents.
        local_ensemble: use the four latents around the query instead of the nearest one. Their offsets in
            (y, x) have the signs --, -+, +-, ++, in this order.
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
