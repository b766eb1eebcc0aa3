"""Patches of a latent around single pixels, without unfolding the whole latent."""

import torch
from torch import Tensor

from moeisr_plugin.ops.rows import gather_rows


class Patches:
    """3x3 neighbourhoods of a latent (B, D, h, w), by the row of the LR pixel, zero outside the image.

    A channels-last latent, as rendering has, is not copied.
    """

    def __init__(self, latent: Tensor) -> None:
        by_pixel = latent.permute(0, 2, 3, 1)  # (B, h, w, D)
        self.size = by_pixel.shape[:3]
        self.rows = by_pixel.flatten(0, 2)
        step = torch.arange(-1, 2, device=latent.device)
        self.down, self.right = step.repeat_interleave(3), step.repeat(3)  # (9,) each

    def at(self, pixel: Tensor) -> Tensor:
        """Return the patches at pixels of any shape, (..., 9*D), channel by channel."""
        _, height, width = self.size
        _, row, column = torch.unravel_index(pixel, self.size)
        row, column = row[..., None] + self.down, column[..., None] + self.right  # (..., 9) each
        outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
        index = (pixel[..., None] + self.down * width + self.right).masked_fill(outside, 0)  # (..., 9)
        found = gather_rows(self.rows, index.flatten()).view(*index.shape, self.rows.shape[1])  # (..., 9, D)
        return found.masked_fill(outside[..., None], 0).mT.flatten(-2)
