"""The picture that the experts paint on: their answer, halved, is added to it."""

from torch import Tensor, nn
from torch.nn import functional as F


class GreyBase(nn.Module):
    """LIIF paints on grey, so that answers in [-1, 1] become RGB in [0, 1]."""

    def forward(self, lr: Tensor, coord: Tensor) -> Tensor:
        """Grey at every query, (1, 1, 1), to be broadcast to (B, Q, 3)."""
        return lr.new_full((1, 1, 1), 0.5)


class BilinearBase(nn.Module):
    """LTE paints on the LR picture, sampled bilinearly (LTE, section 3)."""

    def forward(self, lr: Tensor, coord: Tensor) -> Tensor:
        """The LR picture (B, 3, h, w) at coordinates (B, Q, 2), as (B, Q, 3)."""
        grid = coord.flip(-1).unsqueeze(1)  # (B, 1, Q, 2), x first
        sampled = F.grid_sample(
            lr.to(grid), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return sampled[:, :, 0].transpose(1, 2)  # (B, 3, 1, Q) -> (B, Q, 3)
