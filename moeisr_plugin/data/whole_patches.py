"""Whole HR patches as pictures, of one size in a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

WHOLE = "all"
"""The value of `sample_q` that takes every HR pixel of a patch, as a picture."""


def grid(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the coordinates of all pixels of a picture, row by row.

    Args:
        rows: (H,), vertical centres of the pixels.
        columns: (W,), horizontal centres.

    Returns:
        (H*W, 2), y first.
    """
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)


def cut(sample: Mapping[str, Any], top: int, left: int, height: int, width: int) -> dict[str, Any]:
    """Return a sample whose HR picture, with its coordinates, is a window of the former one.

    Args:
        sample: with ``gt`` (3, H, W) and ``coord`` (H*W, 2).
        top, left, height, width: the window, in HR pixels.
    """
    gt = sample["gt"]
    coord = sample["coord"].view(*gt.shape[1:], 2)  # (H, W, 2)
    rows, columns = slice(top, top + height), slice(left, left + width)
    return {**sample, "gt": gt[:, rows, columns], "coord": coord[rows, columns].flatten(0, 1)}


def cut_alike(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Cut the middle of each HR picture to the smallest height and width among them."""
    sizes = [sample["gt"].shape[1:] for sample in samples]
    height, width = (min(size[axis] for size in sizes) for axis in (0, 1))
    return [
        cut(sample, (h - height) // 2, (w - width) // 2, height, width)
        for sample, (h, w) in zip(samples, sizes, strict=True)
    ]


def as_picture(colours: Tensor, like: Tensor) -> Tensor:
    """Return colours of queries in the form of a target.

    Args:
        colours: (B, Q, 3).
        like: (B, Q, 3), or a picture (B, 3, H, W) with Q = H*W queries, row by row.

    Returns:
        (B, Q, 3) or (B, 3, H, W).
    """
    return colours if like.ndim == 3 else colours.mT.reshape(-1, 3, *like.shape[2:])
