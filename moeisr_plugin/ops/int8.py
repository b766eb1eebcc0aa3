"""Convolutions and linear layers with 8-bit weights and inputs, by oneDNN on a CPU.

A code q in [0, 255] stands for the number scale · (q - zero_point). Weights are signed 8-bit numbers with one
scale per output channel. Products are summed in 32-bit integers, so a layer is exact up to the rounding of
its inputs, weights and outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

onednn = torch.ops.onednn  # used by torch.compile for quantised networks
_LARGEST_CODE = 255
_LARGEST_WEIGHT = 127
_DAMPING = 1e-3  # relative to the mean square of the inputs
_CLAMPED_SHARE = 2**-10
_SAMPLE_STRIDE = 7  # odd, because patterns often repeat after two or four pixels
_BLOCK = 2**18  # numbers that are coded in one step, which fit in the cache


class Coding(NamedTuple):
    """Which numbers the codes in [0, 255] stand for.

    Attributes:
        scale: difference between the numbers of two consecutive codes.
        zero_point: code of the number 0, which padding needs.
    """

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> "Coding":
        """Return the coding with the finest steps that covers [low, high] and 0.

        Raises:
            ValueError: a limit is NaN or Inf.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        if not high - low < float("inf"):
            raise ValueError("precision int8: activations are NaN or Inf; try precision float32")
        scale = (high - low) / _LARGEST_CODE or 1.0
        return cls(scale, round(-low / scale))


UNIT = Coding(1.0, 0)
"""The coding of outputs whose scale is part of the weights."""


def quantise(numbers: Tensor, coding: Coding) -> Tensor:
    """Return the codes of float32 numbers. Halves are rounded up; numbers out of range are clamped.

    Args:
        numbers: (B, C, h, w).
        coding: the coding.

    Returns:
        (B, C, h, w), uint8, in channels-last format.
    """
    codes = torch.empty_like(numbers, dtype=torch.uint8, memory_format=torch.channels_last)
    rounding = torch.tensor(coding.zero_point + 0.5)
    parts = (_flat(each).split(_BLOCK) for each in (numbers, codes))
    for part, target in zip(*parts, strict=True):
        truncate(torch.add(rounding, part, alpha=1 / coding.scale), out=target)
    return codes


def exceeds(codes: Tensor, coding: Coding) -> bool:
    """Return whether numbers were clamped, or just reach the ends of the range.

    Args:
        codes: the codes of the numbers, (B, C, h, w), in channels-last format.
        coding: their coding.
    """
    # Torch finds the extremes of a flat tensor many times as fast.
    low, high = torch.aminmax(_flat(codes))
    return int(high) == _LARGEST_CODE or (coding.zero_point > 0 and int(low) == 0)


def often_clamped(codes: Tensor) -> bool:
    """Return whether more than a few of the codes (B, C, h, w) are the largest one, by a sample of them."""
    sample = codes[..., ::_SAMPLE_STRIDE, ::_SAMPLE_STRIDE]
    return (sample == _LARGEST_CODE).sum().item() > sample.numel() * _CLAMPED_SHARE


def truncate(numbers: Tensor, out: Tensor) -> None:
    """Clamp float32 numbers to [0, 255] in place, and write their integer parts as uint8.

    Torch converts to int16 and then to uint8 in less than half the time of a direct conversion.
    """
    out.copy_(numbers.clamp_(0, _LARGEST_CODE).to(torch.int16))


def _flat(pixels: Tensor) -> Tensor:
    """Return (B*h*w*C,), a view if (B, C, h, w) is in channels-last format."""
    return pixels.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).view(-1)


class FineCoding(NamedTuple):
    """Two codings whose numbers are added, about as exact as 16 bits."""

    coarse: Coding
    fine: Coding

    @classmethod
    def of_range(cls, low: float, high: float) -> "FineCoding":
        """Return the coding with the finest steps that covers [low, high] and 0."""
        coarse = Coding.of_range(low, high)
        return cls(coarse, Coding(coarse.scale / _LARGEST_CODE, 128))


def quantise_finely(numbers: Tensor, coding: FineCoding) -> tuple[Tensor, Tensor]:
    """Return the coarse codes of float32 numbers (B, C, h, w), and the fine codes of what they leave."""
    coarse = quantise(numbers, coding.coarse)
    scale, zero_point = coding.coarse
    rest = torch.add(numbers, coarse, alpha=-scale).add_(scale * zero_point)
    return coarse, quantise(rest, coding.fine)


class Int8Linear:
    """A linear layer on codes.

    Args:
        weight: (n_out, n_in), float32.
        bias: (n_out,), float32.
        source: coding of the input.
        target: coding of the output. None gives float32.
        relu: whether a ReLU follows.

    Raises:
        ValueError: weight or bias is not finite.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        source: Coding,
        target: Coding | None = None,
        relu: bool = False,
    ) -> None:
        codes, self._scales = quantised_weight(weight, bias)
        self._weight = onednn.qlinear_prepack(codes, None)
        self._zeros = torch.zeros(len(codes), dtype=torch.int32)
        self._bias = bias.contiguous()
        self._source, self._target = source, target
        self._relu = "relu" if relu else "none"

    def __call__(self, codes: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map (N, n_in), uint8, to (N, n_out), uint8 or float32.

        Args:
            codes: the input.
            bias: (n_out,), replaces that of the layer.
        """
        return onednn.qlinear_pointwise(
            codes,
            *self._source,
            self._weight,
            self._scales,
            self._zeros,
            self._bias if bias is None else bias,
            *(self._target or UNIT),
            torch.float32 if self._target is None else torch.uint8,
            self._relu,
            [],
            "",
        )


class Int8Convolution:
    """A convolution on codes, with the padding, stride, dilation and groups of a layer.

    Args:
        layer: the layer whose weight and bias are used unless others are given.
        weight: (n_out, n_in / groups, kh, kw), float32.
        bias: (n_out,), float32.
        source: coding of the input.
        target: coding of the output. None gives float32.
        relu: whether a ReLU follows.

    Raises:
        ValueError: weight or bias is not finite.
    """

    def __init__(
        self,
        layer: nn.Conv2d,
        weight: Tensor,
        bias: Tensor,
        *,
        source: Coding,
        target: Coding | None = None,
        relu: bool = False,
    ) -> None:
        codes, self._scales = quantised_weight(weight, bias)
        self._geometry = [*map(list, (layer.stride, layer.padding, layer.dilation)), layer.groups]
        self._weight = onednn.qconv_prepack(codes, self._scales, *source, *self._geometry, None)
        self._zeros = torch.zeros(len(codes), dtype=torch.int32)
        self._bias = bias.contiguous()
        self._source, self._target = source, target
        self._relu = "relu" if relu else "none"

    def __call__(self, codes: Tensor) -> Tensor:
        """Map (B, n_in, h, w), uint8, to (B, n_out, h', w'), uint8 or float32, in channels-last format."""
        return onednn.qconv2d_pointwise(
            codes,
            *self._source,
            self._weight,
            self._scales,
            self._zeros,
            self._bias,
            *self._geometry,
            *(self._target or UNIT),
            torch.float32 if self._target is None else torch.uint8,
            self._relu,
            [],
            "",
        )


def quantised_weight(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Round a weight to multiples of one scale per output channel.

    Args:
        weight: (n_out, ...), float32.
        bias: (n_out,). It is only checked.

    Returns:
        The multiples in [-127, 127], int8, and the scales (n_out,), float32.

    Raises:
        ValueError: weight or bias is not finite. Codes would hide this.
    """
    if not (weight.isfinite().all() and bias.isfinite().all()):
        raise ValueError("precision int8: weights are NaN or Inf; try precision float32")
    largest = weight.flatten(1).abs().amax(1)
    scales = torch.where(largest > 0, largest, 1) / _LARGEST_WEIGHT
    rounded = (weight / scales.view(-1, *[1] * (weight.ndim - 1))).round()
    return rounded.clamp(-_LARGEST_WEIGHT, _LARGEST_WEIGHT).to(torch.int8), scales


def compensated(weight: Tensor, bias: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Round a weight column by column, and correct what is not yet rounded for the error of each column.

    This minimises the error of the output at sample inputs (Frantar et al., GPTQ, arXiv 2210.17323).

    Args:
        weight: (n_out, n_in), float32.
        bias: (n_out,), float32. It is corrected, but not rounded.
        inputs: (N, n_in), samples.

    Returns:
        The weight in multiples of the scales of `quantised_weight`, and the bias.
    """
    _, scales = quantised_weight(weight, bias)
    left = torch.cat([weight, bias[:, None]], dim=1).double()  # (n_out, n_in + 1)
    samples = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1).double()  # (N, n_in + 1)
    products = samples.t() @ samples  # (n_in + 1, n_in + 1)
    products += torch.eye(len(products)) * products.diagonal().mean() * _DAMPING
    inverse = torch.linalg.cholesky(torch.linalg.inv(products), upper=True)
    for column in range(weight.shape[1]):
        exact = left[:, column].clone()
        rounded = (exact / scales).round().clamp(-_LARGEST_WEIGHT, _LARGEST_WEIGHT) * scales
        error = (exact - rounded) / inverse[column, column]
        left[:, column + 1 :] -= error[:, None] * inverse[column, column + 1 :]
        left[:, column] = rounded
    return left[:, :-1].float(), left[:, -1].float()
