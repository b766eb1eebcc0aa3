"""The mapper: how well each expert suits each LR pixel (paper, Eq. 3)."""

from itertools import pairwise

from torch import Tensor, nn


class Mapper(nn.Sequential):
    """Convolutions on the latent, (B, D, h, w), to a score per expert and LR pixel, (B, J, h, w).

    Args:
        latent_channels: width D of the latent.
        num_experts: J.
        depth: number of convolutions; the paper's ablation ``-m1`` has one.
        kernel_size: odd, so that the scores keep the latent's size.
        hidden_dim: width between the convolutions; the latent's by default.

    Raises:
        ValueError: if depth is below 1 or kernel_size is even.
    """

    def __init__(
        self,
        *,
        latent_channels: int,
        num_experts: int,
        depth: int = 5,
        kernel_size: int = 3,
        hidden_dim: int | None = None,
    ) -> None:
        if depth < 1:
            raise ValueError(f"mapper_depth must be 1 or more, not {depth}")
        if kernel_size % 2 == 0:
            raise ValueError(f"mapper_kernel_size must be odd, not {kernel_size}")
        widths = [latent_channels, *[hidden_dim or latent_channels] * (depth - 1), num_experts]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Conv2d(n_in, n_out, kernel_size, padding=kernel_size // 2), nn.ReLU()]
        super().__init__(*layers[:-1])


class SingleExpertMapper(nn.Module):
    """The mapper of a decoder with one expert: it has nothing to choose."""

    def forward(self, latent: Tensor) -> Tensor:
        """Scores of one expert, all alike, (B, 1, h, w)."""
        return latent.new_zeros(latent.shape[0], 1, *latent.shape[2:])
