"""The interface of encoders, and properties of networks that serve as encoders."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Encoder(Protocol):
    """A module that turns an LR image into a latent of the same height and width.

    Attributes:
        latent_channels: D, the channels of the latent.
        halo: Radius of the receptive field in LR pixels. A tile with this much context gives the same
            latent as the whole image. None if the receptive field is unbounded.

    An encoder with attention windows also states ``tile_grid``, their side in LR pixels (1 if missing). Tiles
    start at multiples of it, so that their windows coincide with those of the whole image.
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
