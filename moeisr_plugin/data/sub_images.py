"""Cutting pictures into overlapping sub-images, like extract_subimages.py of the toolbox."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SubImages:
    """Sizes for cutting a picture into sub-images.

    Args:
        crop_size: rows and columns of a sub-image.
        step: pixels from one sub-image to the next.
        thresh_size: add a last sub-image at the bottom or right edge if more pixels than this remain there.

    Raises:
        ValueError: a size is too small.
    """

    crop_size: int
    step: int
    thresh_size: int = 0

    def __post_init__(self):
        if self.crop_size < 1 or self.step < 1 or self.thresh_size < 0:
            raise ValueError(
                f"crop_size is {self.crop_size}, step {self.step}, thresh_size {self.thresh_size}; "
                "set crop_size and step to at least 1, thresh_size to at least 0"
            )

    def cut(self, key: str, picture: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Cut a picture (H, W, 3) row by row into (crop_size, crop_size, 3), and yield (key, sub-image).

        Keys are `KEY_s001` and so on. A scale at the end of `key` is removed (0801x2 becomes 0801), so LR and
        HR sub-images have the same keys.

        Raises:
            ValueError: the picture is smaller than a sub-image.
        """
        height, width = picture.shape[:2]
        if min(height, width) < self.crop_size:
            raise ValueError(
                f"{height}x{width} pixels are too few for a sub-image of {self.crop_size}x{self.crop_size}; "
                "lower crop_size or remove the picture"
            )
        corners = [(y, x) for y in self._starts(height) for x in self._starts(width)]
        for number, (y, x) in enumerate(corners, start=1):
            yield self.key(key, number), picture[y : y + self.crop_size, x : x + self.crop_size]

    @staticmethod
    def key(key: str, number: int) -> str:
        """Return the key of a sub-image; numbers start at 1."""
        return re.sub(r"x[2348]$", "", key) + f"_s{number:03d}"

    def _starts(self, length: int) -> list[int]:
        starts = list(range(0, length - self.crop_size + 1, self.step))
        if length - (starts[-1] + self.crop_size) > self.thresh_size:
            starts.append(length - self.crop_size)
        return starts
