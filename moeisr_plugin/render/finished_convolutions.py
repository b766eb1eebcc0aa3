"""Encoders on a GPU: a convolution's bias, and the ReLU or the shortcut after it, in one pass.

torch takes a pass over the convolution's output for each, and a pass a third of the convolution's time or
more. What is not known here computes itself.
"""

from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs.edsr_encoder_arch import EDSREncoder, ResidualBlock
from moeisr_plugin.archs.rdn_encoder_arch import DenseLayer, RDNEncoder, ResidualDenseBlock
from moeisr_plugin.render import fused


@singledispatch
def finished(module: nn.Module, x: Tensor) -> Tensor:
    """What a network, or a part of one, gives of x, (B, C, h, w), without gradients.

    Args:
        module: evaluated as it is, but for its convolutions.
        x: of a GPU and a type that `fused.suits` is true of.
    """
    return module(x)


@finished.register
def _(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    return _convolve(convolution, x)


@finished.register
def _(sequence: nn.Sequential, x: Tensor) -> Tensor:
    layers = list(sequence)
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, nn.Conv2d) and layers and isinstance(layers[0], nn.ReLU):
            layers.pop(0)
            x = _convolve(layer, x, relu=True)
        else:
            x = finished(layer, x)
    return x


@finished.register
def _(block: ResidualBlock, x: Tensor) -> Tensor:
    first, _, second = block.body
    return _convolve(second, _convolve(first, x, relu=True), scale=block.res_scale, shortcut=x)


@finished.register
def _(encoder: EDSREncoder, x: Tensor) -> Tensor:
    shallow = finished(encoder.head, x)
    *blocks, last = encoder.body
    return _convolve(last, finished(nn.Sequential(*blocks), shallow), shortcut=shallow)


@finished.register
def _(layer: DenseLayer, x: Tensor) -> Tensor:
    return torch.cat((x, finished(layer.conv, x)), dim=1)  # (B, channels + growth, h, w)


@finished.register
def _(block: ResidualDenseBlock, x: Tensor) -> Tensor:
    return _convolve(block.LFF, finished(block.convs, x), shortcut=x)


@finished.register
def _(encoder: RDNEncoder, x: Tensor) -> Tensor:
    shallow = _convolve(encoder.SFENet1, x)
    x, outputs = _convolve(encoder.SFENet2, shallow), []
    for block in encoder.RDBs:
        x = finished(block, x)
        outputs.append(x)
    first, second = encoder.GFF
    return _convolve(second, _convolve(first, torch.cat(outputs, dim=1)), shortcut=shallow)


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
    assert isinstance(c, nn.Conv2d)
    if c.bias is None or isinstance(c.padding, str) or c.padding_mode != "zeros":
        y = c(x)
        y = y.relu_() if relu else y
        return y if shortcut is None else y.mul_(scale).add_(shortcut)
    y = F.conv2d(x, c.weight, None, c.stride, c.padding, c.dilation, c.groups)
    if shortcut is not None and shortcut.stride() != y.stride():
        shortcut = torch.empty_like(y).copy_(shortcut)
    return fused.kernels().finish_convolution_(y, c.bias, relu=relu, scale=scale, shortcut=shortcut)
