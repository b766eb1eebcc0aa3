"""Convolutions with epilogues on a GPU: bias, ReLU and shortcut in a single pass over memory.

torch makes one pass for each of them, which takes a third of the time of the convolution or more. Modules
that are unknown or have hooks use their own forward.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs.encoders.edsr_encoder_arch import EDSREncoder, ResidualBlock
from moeisr_plugin.archs.encoders.rdn_encoder_arch import DenseLayer, RDNEncoder, ResidualDenseBlock
from moeisr_plugin.archs.fast_path import is_plain
from moeisr_plugin.archs.mapper import Mapper
from moeisr_plugin.render import triton_backend


def forward_with_epilogues(module: nn.Module, x: Tensor) -> Tensor:
    """Evaluate a network, or a part of it, with epilogues in its convolutions. For inference only.

    Args:
        module: the network or its part.
        x: (B, C, h, w), on a device and of a type that `triton_backend.supports` accepts.

    Returns:
        Output of the module up to rounding, (B, C', h', w').
    """
    forward = _FORWARDS.get(type(module))
    return forward(module, x) if forward and _is_unchanged(module) else module(x)


def _sequence(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    layers = list(layers)
    while layers:
        layer = layers.pop(0)
        if layers and type(layer) is nn.Conv2d and is_plain(layers[0], nn.ReLU):
            layers.pop(0)
            x = _convolve(layer, x, relu=True)
        else:
            x = forward_with_epilogues(layer, x)
    return x


def _residual_block(block: ResidualBlock, x: Tensor) -> Tensor:
    *before, last = block.body
    return _convolve(last, _sequence(before, x), scale=block.res_scale, shortcut=x)


def _edsr(encoder: EDSREncoder, x: Tensor) -> Tensor:
    shallow = forward_with_epilogues(encoder.head, x)
    *blocks, last = encoder.body
    return _convolve(last, _sequence(blocks, shallow), shortcut=shallow)


def _dense_layer(layer: DenseLayer, x: Tensor) -> Tensor:
    return torch.cat((x, forward_with_epilogues(layer.conv, x)), dim=1)  # (B, channels + growth, h, w)


def _residual_dense_block(block: ResidualDenseBlock, x: Tensor) -> Tensor:
    return _convolve(block.LFF, forward_with_epilogues(block.convs, x), shortcut=x)


def _rdn(encoder: RDNEncoder, x: Tensor) -> Tensor:
    shallow = _convolve(encoder.SFENet1, x)
    x, outputs = _convolve(encoder.SFENet2, shallow), []
    for block in encoder.RDBs:
        x = forward_with_epilogues(block, x)
        outputs.append(x)
    *before, last = encoder.GFF
    return _convolve(last, _sequence(before, torch.cat(outputs, dim=1)), shortcut=shallow)


def _convolve(
    convolution: nn.Module,
    x: Tensor,
    *,
    relu: bool = False,
    scale: float = 1.0,
    shortcut: Tensor | None = None,
) -> Tensor:
    """Return relu(convolution(x)) * scale + shortcut, with or without ReLU and shortcut."""
    c = convolution
    if not _is_plain(c) or c.bias is None:
        y = c(x)
        y = y.relu() if relu else y
        return y if shortcut is None else y * scale + shortcut
    y = F.conv2d(x, c.weight, None, c.stride, c.padding, c.dilation, c.groups)
    if shortcut is not None and shortcut.stride() != y.stride():
        shortcut = torch.empty_like(y).copy_(shortcut)
    return triton_backend.kernels().apply_epilogue_(y, c.bias, relu=relu, scale=scale, shortcut=shortcut)


def _is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a module is a convolution with default forward, no hooks and zero padding."""
    return is_plain(module, nn.Conv2d) and module.padding_mode == "zeros"


def _is_unchanged(module: nn.Module) -> bool:
    """Return whether neither the module nor the sequence that is taken apart with it is changed or hooked."""
    sequences = (getattr(module, name, None) for name in ("body", "GFF"))
    return is_plain(module, *_FORWARDS) and all(s is None or is_plain(s, nn.Sequential) for s in sequences)


_FORWARDS: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.Conv2d: _convolve,
    nn.Sequential: _sequence,
    Mapper: _sequence,
    ResidualBlock: _residual_block,
    EDSREncoder: _edsr,
    DenseLayer: _dense_layer,
    ResidualDenseBlock: _residual_dense_block,
    RDNEncoder: _rdn,
}
