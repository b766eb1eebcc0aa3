"""Convolutions on the fastest backend: NNPACK's Winograd algorithm on a CPU, Triton epilogues on a GPU.

NNPACK is part of torch. For a 3x3 kernel it needs 64 instead of 324 products per 36 outputs, and gives the
same result up to rounding. Torch does not use it for a batch of one.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from moeisr_plugin.render import triton_backend
from moeisr_plugin.render.casting import rounds_to_tf32
from moeisr_plugin.render.convolution_epilogues import forward_with_epilogues

# Below these limits the transforms of image and kernel take longer than the saved products. Measured against
# direct convolutions with AVX2 and AVX-512, for 16 to 256 channels and 31x45 to 576x576 pixels.
_FEWEST_CHANNELS = 64
_FEWEST_PIXELS = 48 * 48
# With fewer pixels a GPU waits for its host, which launches Triton kernels more slowly than torch kernels.
# Time of an H200 with Triton epilogues, relative to torch: 1.5 for 96x96 pixels, 0.55 for 1280x720.
_MIN_EPILOGUE_PIXELS = 2**18
_nnpack_convolution = getattr(torch, "_nnpack_spatial_convolution", None)  # not a public function of torch


def with_fast_convolutions(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of a network with convolutions on the fastest backend. For inference only."""
    can_use_winograd = any(_layer_supports_winograd(m) for m in network.modules() if isinstance(m, nn.Conv2d))

    def compute(picture: Tensor) -> Tensor:
        if picture[:, 0].numel() >= _MIN_EPILOGUE_PIXELS and triton_backend.supports(picture):
            exact = picture.dtype == torch.float32 and not rounds_to_tf32()
            # Tensor cores need channels last.
            return forward_with_epilogues(network, picture.contiguous() if exact else channels_last(picture))
        if can_use_winograd and winograd_is_faster(picture):
            with WinogradConvolutions():
                return network(picture.contiguous())
        return network(channels_last(picture))

    return compute


def channels_last(picture: Tensor) -> Tensor:
    """Return an image (B, C, h, w) in channels-last format, with the canonical strides of this format.

    For a batch of one, torch accepts any batch stride as channels last. But a convolution with an unexpected
    batch stride returns channels first.
    """
    channels, height, width = picture.shape[1:]
    strides = (height * width * channels, 1, width * channels, channels)
    return picture.contiguous(memory_format=torch.channels_last).as_strided(picture.shape, strides)


class WinogradConvolutions(TorchFunctionMode):
    """Context that computes convolutions with NNPACK where this is faster. For inference only."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.conv2d:
            return _conv2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def winograd_is_faster(picture: Tensor) -> bool:
    """Return whether NNPACK is faster on an image (1, C, h, w), if the convolution has enough channels.

    NNPACK is used with one thread only, because it scales worse to several threads than direct convolutions.
    """
    return (
        not torch.compiler.is_compiling()
        and picture.device.type == "cpu"
        and picture.dtype == torch.float32
        and picture.ndim == 4
        and len(picture) == 1
        and picture.shape[2] * picture.shape[3] >= _FEWEST_PIXELS
        and torch.get_num_threads() == 1
        and torch._C._get_nnpack_enabled()
        and _has_nnpack()
    )


@functools.cache
def _has_nnpack() -> bool:
    # NNPACK works only after a call of `is_available`, which initialises it.
    return (
        torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        and _nnpack_convolution is not None
        and torch.backends.nnpack.is_available()
    )


def _conv2d(  # parameter names of torch.conv2d
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    if (
        _nnpack_convolution
        and _supports_winograd(weight, stride, padding, dilation, groups)
        and winograd_is_faster(input)
    ):
        return _nnpack_convolution(input.contiguous(), weight.contiguous(), bias, _pair(padding))
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _layer_supports_winograd(convolution: nn.Conv2d) -> bool:
    c = convolution
    return _supports_winograd(c.weight, c.stride, c.padding, c.dilation, c.groups)


def _supports_winograd(weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    return (
        weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= _FEWEST_CHANNELS
        and groups == 1
        and _pair(stride) == _pair(dilation) == (1, 1)
        and _pair(padding) in ((0, 0), (1, 1))
    )


def _pair(numbers: Any) -> Any:
    """Return (y, x) for a number that applies to both axes, or for a pair."""
    return (numbers, numbers) if isinstance(numbers, int) else tuple(numbers)
