"""The residual dense network without its upsampling (Zhang et al., arXiv 1802.08797)."""

import torch
from torch import Tensor, nn

from moeisr_plugin.archs.encoders.encoder_interface import convolution_halo
from moeisr_plugin.archs.registry import register


class DenseLayer(nn.Module):
    """Append `growth` new channels to the input (section 3.2, equation 5)."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, growth, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(x)), dim=1)  # (B, channels + growth, h, w)


class ResidualDenseBlock(nn.Module):
    """Dense layers, their local feature fusion, and the input added (section 3.2)."""

    def __init__(self, channels: int, growth: int, num_layer: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(DenseLayer(channels + i * growth, growth) for i in range(num_layer)))
        self.LFF = nn.Conv2d(channels + num_layer * growth, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.LFF(self.convs(x))


@register
class RDNEncoder(nn.Module):
    """RDN as in LIIF (configuration B); parameters have the names of the published LIIF weights.

    Args:
        num_feat: G0, the width between blocks and of the latent.
        num_block: D, residual dense blocks.
        num_layer: C, dense layers of each block.
        num_grow_ch: G, channels that each dense layer adds.
    """

    def __init__(
        self, *, num_feat: int = 64, num_block: int = 16, num_layer: int = 8, num_grow_ch: int = 64
    ) -> None:
        super().__init__()
        self.SFENet1 = nn.Conv2d(3, num_feat, 3, padding=1)
        self.SFENet2 = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.RDBs = nn.ModuleList(
            ResidualDenseBlock(num_feat, num_grow_ch, num_layer) for _ in range(num_block)
        )
        self.GFF = nn.Sequential(
            nn.Conv2d(num_block * num_feat, num_feat, 1),
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
        )
        self.latent_channels = num_feat
        self.halo = convolution_halo(self)

    def forward(self, lr: Tensor) -> Tensor:
        """Encode `lr` (B, 3, h, w), RGB in [-1, 1], into a latent (B, num_feat, h, w)."""
        shallow = self.SFENet1(lr)
        x = self.SFENet2(shallow)
        outputs = []
        for block in self.RDBs:
            x = block(x)
            outputs.append(x)
        return shallow + self.GFF(torch.cat(outputs, dim=1))
