"""Convolutions as their device does them soonest: on a processor those of 3x3 by Winograd's algorithm.

NNPACK, which comes with torch, takes 64 products for 36 outputs where there are 324, and gives the same
up to rounding. Torch itself does not use it for single pictures.
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

# With less, transforming picture and kernel outweighs the products saved: measured beside direct convolutions
# by AVX2, and by AVX-512, which NNPACK does not use, from 16 to 256 channels and 31x45 to 576x576 pixels.
_FEWEST_CHANNELS = 64
_FEWEST_PIXELS = 48 * 48
# With fewer pixels a GPU waits for its host, which starts kernels of Triton more slowly than those of torch.
# With them an H200 took 1.5 times as long to encode 96x96, and 0.55 times as long to encode 1280x720.
_MIN_EPILOGUE_PIXELS = 2**18
_nnpack_convolution = getattr(torch, "_nnpack_spatial_convolution", None)  # not part of torch's interface


def with_fast_convolutions(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """A network's forward pass without gradients, its convolutions done as its device does them soonest."""
    can_use_winograd = any(_supports_winograd(m) for m in network.modules() if isinstance(m, nn.Conv2d))

    def compute(picture: Tensor) -> Tensor:
        if picture[:, 0].numel() >= _MIN_EPILOGUE_PIXELS and triton_backend.supports(picture):
            exact = picture.dtype == torch.float32 and not rounds_to_tf32()
            # Tensor cores want the channels last.
            return forward_with_epilogues(network, picture.contiguous() if exact else channels_last(picture))
        if can_use_winograd and winograd_is_faster(picture):
            with WinogradConvolutions():
                return network(picture.contiguous())
        return network(channels_last(picture))

    return compute


def channels_last(picture: Tensor) -> Tensor:
    """The picture (B, C, h, w) with its channels last in memory, and strides that say so.

    Of a batch of one, torch calls its channels last whatever the stride of the batch, but a convolution that
    does not find the one it expects puts the channels first.
    """
    channels, height, width = picture.shape[1:]
    strides = (height * width * channels, 1, width * channels, channels)
    return picture.contiguous(memory_format=torch.channels_last).as_strided(picture.shape, strides)


class WinogradConvolutions(TorchFunctionMode):
    """A context, without gradients, in which NNPACK computes the convolutions that it is faster at."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.conv2d:
            return _conv2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def winograd_is_faster(picture: Tensor) -> bool:
    """Whether convolutions of a picture (1, C, h, w) are faster so, if they have channels enough.

    Only in a single thread: NNPACK's work is shared by two worse than that of direct convolutions.
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
    # It computes only after it was asked for.
    return (
        torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        and _nnpack_convolution is not None
        and torch.backends.nnpack.is_available()
    )


def _conv2d(  # named as torch.conv2d names them
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
        and _winograd_applies(weight, stride, padding, dilation, groups)
        and winograd_is_faster(input)
    ):
        return _nnpack_convolution(input.contiguous(), weight.contiguous(), bias, _pair(padding))
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _supports_winograd(convolution: nn.Conv2d) -> bool:
    c = convolution
    return _winograd_applies(c.weight, c.stride, c.padding, c.dilation, c.groups)


def _winograd_applies(weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    return (
        weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= _FEWEST_CHANNELS
        and groups == 1
        and _pair(stride) == _pair(dilation) == (1, 1)
        and _pair(padding) in ((0, 0), (1, 1))
    )


def _pair(numbers: Any) -> Any:
    """A number for both axes, or one for each, as (y, x)."""
    return (numbers, numbers) if isinstance(numbers, int) else tuple(numbers)
