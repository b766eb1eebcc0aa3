"""Convolutions with a ReLU between each two, on 8-bit codes from first to last."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moeisr_plugin.ops.int8 import UNIT, Coding, Int8Convolution, exceeds, often_clamped, quantise

# Smallest range of a hidden channel, relative to the largest. A channel that is rarely active in a sample can
# exceed what was found there many times.
_SMALLEST_RANGE = 0.25
# Smallest step of a hidden channel, relative to the largest step. It bounds the weights of dead channels.
_SMALLEST_STEP = 2.0**-12


def channel_steps(largest: Tensor, following: Tensor) -> Tensor:
    """Return what one code of each hidden channel after a ReLU stands for.

    A ReLU commutes with positive factors. So each channel can have its own step, which divides the weights
    before it and multiplies those after it. The geometric mean of two choices balances the rounding of
    numbers and of weights (Nagel et al., arXiv 1906.04721, section 4.1): codes of equal range, and weights
    of equal range.

    Args:
        largest: (C,), the largest number of each channel.
        following: (n, C, ...), the weight of the following layer.

    Returns:
        (C,), positive.
    """
    weights = following.transpose(0, 1).flatten(1).abs().amax(1)  # (C,)
    factors = (largest / weights).sqrt()
    factors = torch.where(factors.isfinite() & (factors > 0), factors, 0)
    factors = factors.clamp_min(factors.max() * _SMALLEST_STEP)
    factors = torch.where(factors > 0, factors, 1)
    return factors * ((largest / factors).amax() / 255).clamp_min(torch.finfo(torch.float32).tiny)


class Ranges(NamedTuple):
    """Numbers that occur in a chain of layers with a ReLU between each two.

    Attributes:
        low: (n_in,), the smallest input of each channel.
        high: (n_in,), the largest input of each channel.
        hidden: the largest number of each channel (C,), before each layer but the first.
    """

    low: Tensor
    high: Tensor
    hidden: Sequence[Tensor]


class Int8Convolutions(nn.Module):
    """Replaces convolutions with a ReLU between each two. Input and output are float32.

    An input beyond its range, or with many hidden numbers beyond theirs, is computed in float32.

    Args:
        layers: the convolutions.
        ranges: the numbers that occur.
        relu: whether a ReLU follows the last convolution.

    Raises:
        ValueError: a weight or a range is not finite.
    """

    def __init__(self, layers: Sequence[nn.Conv2d], ranges: Ranges, *, relu: bool) -> None:
        super().__init__()
        self.exact = nn.Sequential(*(each for layer in layers for each in (layer, nn.ReLU(inplace=True))))
        if not relu:
            del self.exact[-1]
        self._source, self._layers = _convert(layers, ranges, relu=relu)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, n_in, h, w) to (B, n_out, h, w), both float32."""
        codes = quantise(features, self._source)
        if exceeds(codes, self._source):
            return self.exact(features)
        *hidden, last = self._layers
        for layer in hidden:
            codes = layer(codes)
            if often_clamped(codes):
                return self.exact(features)
        return last(codes)


def _convert(
    layers: Sequence[nn.Conv2d], ranges: Ranges, *, relu: bool
) -> tuple[Coding, list[Int8Convolution]]:
    """Return the coding of the input, and the layers on codes."""
    first = Coding.of_range(ranges.low.min().item(), ranges.high.max().item())
    steps: list[Tensor | None] = [
        channel_steps(largest.clamp_min(largest.max() * _SMALLEST_RANGE), layer.weight.detach())
        for largest, layer in zip(ranges.hidden, layers[1:], strict=True)
    ]
    converted = []
    for layer, before, after in zip(layers, [None, *steps], [*steps, None], strict=True):
        weight, bias = scaled(layer, before, after)
        source = first if before is None else UNIT
        target = None if after is None else UNIT
        converted.append(
            Int8Convolution(layer, weight, bias, source=source, target=target, relu=relu or after is not None)
        )
    return first, converted


def scaled(
    layer: nn.Conv2d | nn.Linear, before: Tensor | None, after: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of a layer whose inputs are multiples of `before`, outputs of `after`."""
    weight = layer.weight.detach().float()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().float()
    trailing = [1] * (weight.ndim - 2)
    if before is not None:
        weight = weight * before.view(1, -1, *trailing)
    if after is not None:
        weight, bias = weight / after.view(-1, 1, *trailing), bias / after
    return weight, bias
