"""The interface of encoders, and properties of networks that serve as encoders."""

import sys
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Encoder(Protocol):
    """A module that turns an LR image into a latent of the same height and width.

    Attributes:
        latent_channels: D, the latent's channels.
        halo: How many LR pixels around a latent pixel can change it, so that a tile with this much
            context gives the latent of the whole image; None where no finite number does.
    """

    latent_channels: int
    halo: int | None

    def __call__(self, lr: Tensor) -> Tensor:
        """Encodes `lr` (B, 3, h, w), RGB in [-1, 1], into a latent (B, D, h, w); any h, w >= 1."""
        ...


def convolution_halo(net: nn.Module) -> int:
    """Gives the halo of a network whose longest path runs through each of its convolutions once.

    This holds for residual and for densely connected chains of odd-sized kernels with stride 1,
    not for pooling, attention or parallel branches of several convolutions.
    """
    return sum(layer.kernel_size[0] // 2 for layer in net.modules() if isinstance(layer, nn.Conv2d))


def window_sizes(net: nn.Module) -> set[int]:
    """Return the sides in LR pixels of the attention windows in a network; empty if it has none."""
    swinir = sys.modules.get("basicsr.archs.swinir_arch")  # not loaded: the network has none of its blocks
    if swinir is None:
        return set()
    return {block.window_size for block in net.modules() if isinstance(block, swinir.SwinTransformerBlock)}
