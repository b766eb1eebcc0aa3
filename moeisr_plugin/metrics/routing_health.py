"""Numbers that tell whether a mixture of experts is one."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def expert_shares(scores: Tensor) -> Tensor:
    """The share of LR pixels that choose each expert, (J,), of scores (B, J, h, w)."""
    chosen = torch.bincount(scores.argmax(dim=1).flatten(), minlength=scores.shape[1])
    return chosen / chosen.sum()


def mean_confidence(scores: Tensor) -> Tensor:
    """The largest probability of an LR pixel, averaged: 1/J if the mapper knows nothing, at most 1."""
    return scores.softmax(dim=1).amax(dim=1).mean()


def gradient_energy(lr: Tensor) -> Tensor:
    """How much happens around each LR pixel: its squared gradient, averaged over 3x3 pixels.

    Args:
        lr: (B, 3, h, w) in [0, 1].

    Returns:
        (B, h, w).
    """
    grey = F.pad(lr.mean(dim=1, keepdim=True), [1, 1, 1, 1], mode="replicate")  # (B, 1, h+2, w+2)
    dy = (grey[:, :, 2:, 1:-1] - grey[:, :, :-2, 1:-1]) / 2
    dx = (grey[:, :, 1:-1, 2:] - grey[:, :, 1:-1, :-2]) / 2
    return F.avg_pool2d(dy.square() + dx.square(), 3, stride=1, padding=1, count_include_pad=False)[:, 0]


def depth_difficulty_correlation(scores: Tensor, depths: Sequence[int], lr: Tensor) -> Tensor:
    """Rank correlation (Spearman's) of an LR pixel's expert depth with its gradient energy.

    Args:
        scores: (B, J, h, w).
        depths: J depths.
        lr: (B, 3, h, w).

    Returns:
        A scalar in [-1, 1]; 0 if all pixels chose the same expert.
    """
    depth = torch.as_tensor(depths, dtype=torch.float64, device=scores.device)[scores.argmax(dim=1)]
    ranks = torch.stack([_ranks(depth.flatten()), _ranks(gradient_energy(lr).flatten())])  # (2, B*h*w)
    return torch.corrcoef(ranks)[0, 1].nan_to_num(0.0)


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0, equal values sharing the mean of theirs."""
    _, group, count = values.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0) - 1
    return (last - (count - 1) / 2).double()[group]
