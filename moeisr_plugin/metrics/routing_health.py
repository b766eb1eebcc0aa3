"""Statistics of routing: shares, confidence, and correlation of depth with image content."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def expert_shares(scores: Tensor) -> Tensor:
    """Return the share of LR pixels routed to each expert, (J,), from scores (B, J, h, w)."""
    chosen = torch.bincount(scores.argmax(dim=1).flatten(), minlength=scores.shape[1])
    return chosen / chosen.sum()


def mean_confidence(scores: Tensor) -> Tensor:
    """Return the mean of the largest probability at each LR pixel, in [1/J, 1], from scores (B, J, h, w)."""
    return scores.softmax(dim=1).amax(dim=1).mean()


def gradient_energy(lr: Tensor) -> Tensor:
    """Compute the squared gradient magnitude of the grey image, averaged over 3x3 pixels.

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
    """Compute Spearman's rank correlation of expert depth and gradient energy over LR pixels.

    Args:
        scores: (B, J, h, w).
        depths: depths of the J experts.
        lr: (B, 3, h, w) in [0, 1].

    Returns:
        A scalar in [-1, 1]; 0 if all pixels are routed to the same expert.
    """
    depth = torch.as_tensor(depths, dtype=torch.float64, device=scores.device)[scores.argmax(dim=1)]
    ranks = torch.stack([_ranks(depth.flatten()), _ranks(gradient_energy(lr).flatten())])  # (2, B*h*w)
    return torch.corrcoef(ranks)[0, 1].nan_to_num(0.0)


def _ranks(values: Tensor) -> Tensor:
    """Return ranks from 0. Equal values share their mean rank."""
    _, group, count = values.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0) - 1
    return (last - (count - 1) / 2).double()[group]
