"""Run the fixed-scale EDSR-baseline of the toolbox, which enlarges by PixelShuffle."""

from pathlib import Path

import torch
from torch import Tensor

from moeisr_plugin.checkpoints.network import load_weights, read_checkpoint


class FixedScaleEDSR:
    """EDSR-baseline of the toolbox for one integer scale.

    The residual blocks count as its encoder, upsampling and the last convolution as its decoder.

    Args:
        scale: a power of 2, or 3.
        device: device of the network.
        weights: a file of the toolbox. None for random weights.

    Raises:
        ValueError: the file does not fit.
    """

    def __init__(self, scale: int, device: torch.device, weights: Path | None = None) -> None:
        from basicsr.archs.edsr_arch import EDSR  # after moeisr_plugin, which repairs the toolbox

        torch.manual_seed(0)
        self._net = EDSR(num_in_ch=3, num_out_ch=3, num_feat=64, num_block=16, upscale=scale)
        if weights is not None:
            load_weights(self._net, read_checkpoint(weights)["params"], weights)
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
