"""EDSR-baseline without its mean shift and its upsampling (Lim et al., arXiv 1707.02921)."""

from torch import Tensor, nn

from moeisr_plugin.archs.encoders.encoder_interface import convolution_halo
from moeisr_plugin.archs.registry import register


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, and the input added (arXiv 1707.02921, figure 2c)."""

    def __init__(self, channels: int, res_scale: float) -> None:
        super().__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.body(x)
        return (residual if self.res_scale == 1 else residual.mul_(self.res_scale)).add_(x)


@register
class EDSREncoder(nn.Module):
    """EDSR-baseline as in LIIF; parameters have the names of the published LIIF weights.

    Args:
        num_feat: Width of every layer and of the latent.
        num_block: Residual blocks.
        res_scale: Factor on each block's residual.
    """

    def __init__(self, *, num_feat: int = 64, num_block: int = 16, res_scale: float = 1.0) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, num_feat, 3, padding=1))
        self.body = nn.Sequential(
            *(ResidualBlock(num_feat, res_scale) for _ in range(num_block)),
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
        )
        self.latent_channels = num_feat
        self.halo = convolution_halo(self)

    def forward(self, lr: Tensor) -> Tensor:
        """Encode `lr` (B, 3, h, w), RGB in [-1, 1], into a latent (B, num_feat, h, w)."""
        shallow = self.head(lr)
        return self.body(shallow).add_(shallow)
