"""Encoders on a GPU: a convolution's bias, and the ReLU or the shortcut after it, in one pass.

torch takes a pass over the convolution's output for each, and a pass a third of the convolution's time or
more. What is not known here, as others made or changed it, computes itself.
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
from moeisr_plugin.render import fused


def finished(module: nn.Module, x: Tensor) -> Tensor:
    """What a network, or a part of one, gives of x, (B, C, h, w), without gradients.

    Args:
        module: evaluated as it is, but for its convolutions.
        x: of a GPU and a type that `fused.suits` is true of.
    """
    way = _WAYS.get(type(module))
    return way(module, x) if way and _is_unchanged(module) else module(x)


def _sequence(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    layers = list(layers)
    while layers:
        layer = layers.pop(0)
        if layers and type(layer) is nn.Conv2d and is_plain(layers[0], nn.ReLU):
            layers.pop(0)
            x = _convolve(layer, x, relu=True)
        else:
            x = finished(layer, x)
    return x


def _residual_block(block: ResidualBlock, x: Tensor) -> Tensor:
    *before, last = block.body
    return _convolve(last, _sequence(before, x), scale=block.res_scale, shortcut=x)


def _edsr(encoder: EDSREncoder, x: Tensor) -> Tensor:
    shallow = finished(encoder.head, x)
    *blocks, last = encoder.body
    return _convolve(last, _sequence(blocks, shallow), shortcut=shallow)


def _dense_layer(layer: DenseLayer, x: Tensor) -> Tensor:
    return torch.cat((x, finished(layer.conv, x)), dim=1)  # (B, channels + growth, h, w)


def _residual_dense_block(block: ResidualDenseBlock, x: Tensor) -> Tensor:
    return _convolve(block.LFF, finished(block.convs, x), shortcut=x)


def _rdn(encoder: RDNEncoder, x: Tensor) -> Tensor:
    shallow = _convolve(encoder.SFENet1, x)
    x, outputs = _convolve(encoder.SFENet2, shallow), []
    for block in encoder.RDBs:
        x = finished(block, x)
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
    """relu(convolution(x)) * scale + shortcut."""
    c = convolution
    if not _is_plain(c) or c.bias is None:
        y = c(x)
        y = y.relu() if relu else y
        return y if shortcut is None else y * scale + shortcut
    y = F.conv2d(x, c.weight, None, c.stride, c.padding, c.dilation, c.groups)
    if shortcut is not None and shortcut.stride() != y.stride():
        shortcut = torch.empty_like(y).copy_(shortcut)
    return fused.kernels().finish_convolution_(y, c.bias, relu=relu, scale=scale, shortcut=shortcut)


def _is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether it is a convolution that does what its numbers say and no more."""
    return is_plain(module, nn.Conv2d) and module.padding_mode == "zeros"


def _is_unchanged(module: nn.Module) -> bool:
    """Return whether neither the module nor the sequence that is taken apart with it is changed or hooked."""
    sequences = (getattr(module, name, None) for name in ("body", "GFF"))
    return is_plain(module, *_WAYS) and all(s is None or is_plain(s, nn.Sequential) for s in sequences)


_WAYS: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.Conv2d: _convolve,
    nn.Sequential: _sequence,
    Mapper: _sequence,
    ResidualBlock: _residual_block,
    EDSREncoder: _edsr,
    DenseLayer: _dense_layer,
    ResidualDenseBlock: _residual_dense_block,
    RDNEncoder: _rdn,
}
