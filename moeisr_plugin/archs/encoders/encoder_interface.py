"""The interface of encoders, and properties of networks that serve as encoders."""

import sys
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Encoder(Protocol):
    """A module that turns an LR image into a latent of the same height and width.

    Attributes:
        latent_channels: D, the channels of the latent.
        halo: Radius of the receptive field in LR pixels. A tile with this much context gives the same
            latent as the whole image. None if the receptive field is unbounded.
    """

    latent_channels: int
    halo: int | None

    def __call__(self, lr: Tensor) -> Tensor:
        """Encode `lr` (B, 3, h, w), RGB in [-1, 1], into a latent (B, D, h, w); any h, w >= 1."""
        ...


def convolution_halo(net: nn.Module) -> int:
    """Return the halo of a network whose longest path passes through each convolution once.

    This holds for residual and densely connected chains of odd-sized kernels with stride 1. It does not hold
    for pooling, attention, or parallel branches of several convolutions.
    """
    return sum(layer.kernel_size[0] // 2 for layer in net.modules() if isinstance(layer, nn.Conv2d))


def window_sizes(net: nn.Module) -> set[int]:
    """Return the sides in LR pixels of the attention windows in a network; empty if it has none."""
    swinir: Any = sys.modules.get("basicsr.archs.swinir_arch")
    if swinir is None:  # so the network has none of its blocks
        return set()
    modules: Iterator[Any] = net.modules()
    return {module.window_size for module in modules if isinstance(module, swinir.SwinTransformerBlock)}
