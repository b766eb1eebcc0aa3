"""The mapper, which scores each expert at each LR pixel (paper, Eq. 3)."""

from itertools import pairwise

from torch import Tensor, nn


class Mapper(nn.Sequential):
    """Convolutions with ReLU between them, from the latent (B, D, h, w) to scores (B, J, h, w).

    Args:
        latent_channels: width D of the latent.
        num_experts: number J of experts.
        depth: number of convolutions. The paper's ablation ``-m1`` has one.
        kernel_size: size of each kernel; odd, so that scores have the size of the latent.
        hidden_dim: width between the convolutions. Defaults to `latent_channels`.

    Raises:
        ValueError: If `depth` is less than 1 or `kernel_size` is even.
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
    """Mapper of a decoder with a single expert: all scores are zero."""

    def forward(self, latent: Tensor) -> Tensor:
        """Return zeros of shape (B, 1, h, w)."""
        return latent.new_zeros(latent.shape[0], 1, *latent.shape[2:])
