"""Run the fixed-scale EDSR-baseline of the toolbox, which enlarges by PixelShuffle, with random weights."""

import torch
from torch import Tensor


class FixedScaleEDSR:
    """EDSR-baseline of the toolbox for one integer scale.

    The residual blocks count as its encoder, upsampling and the last convolution as its decoder.

    Args:
        scale: a power of 2, or 3.
        device: device of the network.
    """

    def __init__(self, scale: int, device: torch.device) -> None:
        from basicsr.archs.edsr_arch import EDSR  # after moeisr_plugin, which repairs the toolbox

        torch.manual_seed(0)
        self._net = EDSR(num_in_ch=3, num_out_ch=3, num_feat=64, num_block=16, upscale=scale)
        self._net.to(device).eval()

    @torch.no_grad()
    def encode(self, lr: Tensor) -> Tensor:
        net = self._net
        first = net.conv_first((lr - net.mean.to(lr)) * net.img_range)
        return first + net.conv_after_body(net.body(first))

    @torch.no_grad()
    def decode(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the picture. The size follows from the scale of the network."""
        net = self._net
        picture = net.conv_last(net.upsample(features))
        return picture / net.img_range + net.mean.to(picture)


def is_supported(scale: float) -> bool:
    """Return whether the toolbox has an EDSR for this scale."""
    return scale == 3 or (scale >= 2 and scale == int(scale) and int(scale) & (int(scale) - 1) == 0)
