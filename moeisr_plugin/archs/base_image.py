"""Base images: the network adds half of the experts' output to one of these."""

from torch import Tensor, nn
from torch.nn import functional as F


class GreyBase(nn.Module):
    """The constant 0.5, the base of LIIF. It maps outputs in [-1, 1] to RGB in [0, 1]."""

    def forward(self, lr: Tensor, coord: Tensor) -> Tensor:
        """Return 0.5 of shape (1, 1, 1), which broadcasts to (B, Q, 3)."""
        return lr.new_full((1, 1, 1), 0.5)


class BilinearBase(nn.Module):
    """The LR image sampled bilinearly, the base of LTE (LTE, section 3)."""

    def forward(self, lr: Tensor, coord: Tensor) -> Tensor:
        """Sample an LR image.

        Args:
            lr: (B, 3, h, w).
            coord: (B, Q, 2) in [-1, 1], y first.

        Returns:
            RGB, (B, Q, 3).
        """
        grid = coord.flip(-1).unsqueeze(1)  # (B, 1, Q, 2), x first
        sampled = F.grid_sample(
            lr.to(grid), grid, mode="bilinear", padding_mode="border", align_corners=False
        )  # (B, 3, 1, Q)
        return sampled[:, :, 0].transpose(1, 2)  # (B, Q, 3)
