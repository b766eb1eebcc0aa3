"""Benchmark cases: an LR picture, a scale and an expert map."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.archs.implicit_sr import Encoding

# Sides of the blobs of an expert map in LR pixels. Larger blobs have more weight.
_BLOBS = (24, 6)


@dataclass(frozen=True)
class Case:
    """A picture to enlarge.

    Attributes:
        scale: scale of both axes.
        lr_size: (h, w).
    """

    scale: float
    lr_size: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the output."""
        return round(self.lr_size[0] * self.scale), round(self.lr_size[1] * self.scale)

    @property
    def label(self) -> str:
        return f"{self.scale:g}x{self.lr_size[1]}x{self.lr_size[0]}"


def parse_case(text: str) -> Case:
    """Parse ``4x96x64``: scale, LR width and LR height."""
    try:
        scale, width, height = text.split("x")
        case = Case(float(scale), (int(height), int(width)))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a case; give SCALExWIDTHxHEIGHT of LR") from None
    if not (math.isfinite(case.scale) and case.scale >= 1 and min(case.lr_size) >= 1):
        raise argparse.ArgumentTypeError(f"'{text}': the scale and the size must be at least 1")
    return case


def lr_picture(size: tuple[int, int]) -> Tensor:
    """Return the scikit-image photograph chelsea resized to (h, w), as (1, 3, h, w) in [0, 1]."""
    height, width = size
    photograph = Image.fromarray(data.chelsea()).resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(photograph, np.float32) / 255).permute(2, 0, 1)[None].contiguous()


def shares_of_mean_depth(extra_layers: Sequence[int], mean: float) -> list[float]:
    """Return the expert shares of maximum entropy with a given mean depth.

    Args:
        extra_layers: layers of each expert beyond those of the shallowest.
        mean: mean of the extra layers over pixels, strictly between the smallest and the largest.

    Returns:
        Shares that sum to 1.

    Raises:
        ValueError: no shares have this mean.
    """
    layers = torch.tensor(extra_layers, dtype=torch.float64)
    if not layers.min() < mean < layers.max():
        raise ValueError(f"no shares of experts with {list(extra_layers)} extra layers have a mean of {mean}")
    low, high = -50.0, 50.0
    for _ in range(100):
        tilt = (low + high) / 2
        shares = (tilt * layers).softmax(0)
        low, high = (tilt, high) if shares @ layers < mean else (low, tilt)
    return (((low + high) / 2) * layers).softmax(0).tolist()


def expert_map(shares: Sequence[float], size: tuple[int, int]) -> Tensor:
    """Return a deterministic expert map (h, w) with the given shares, rounded to whole pixels.

    The map consists of blobs similar to those of a trained mapper. Adjacent blobs have experts of adjacent
    depth.
    """
    generator = torch.Generator().manual_seed(0)
    relief = torch.zeros(size)
    for side in _BLOBS:
        knots = [math.ceil(n / side) + 1 for n in size]
        noise = torch.randn(1, 1, *knots, generator=generator)
        relief += side * F.interpolate(noise, size, mode="bicubic")[0, 0]
    rank = torch.empty(relief.numel(), dtype=torch.long)
    rank[relief.flatten().argsort(stable=True)] = torch.arange(relief.numel())
    limits = (torch.tensor(shares, dtype=torch.float64).cumsum(0)[:-1] * relief.numel()).round().long()
    return torch.bucketize(rank, limits, right=True).view(size)


def routed(encoding: Encoding, choice: Tensor | None) -> Encoding:
    """Replace the scores so that their arg max is the expert map (h, w). None keeps the encoding."""
    if choice is None:
        return encoding
    scores = F.one_hot(choice, encoding.scores.shape[1]).permute(2, 0, 1)[None]  # (1, J, h, w)
    return encoding._replace(scores=scores.to(encoding.scores))
