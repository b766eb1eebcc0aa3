"""Cutting pictures into overlapping sub-images, as the toolbox's extract_subimages.py does."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SubImages:
    """How a picture is cut.

    Args:
        crop_size: rows and columns of a sub-image.
        step: pixels from one to the next.
        thresh_size: what is left over at the bottom or right makes a last sub-image, flush with the edge,
            if it is wider than this.

    Raises:
        ValueError: a size that cannot be.
    """

    crop_size: int
    step: int
    thresh_size: int = 0

    def __post_init__(self):
        if self.crop_size < 1 or self.step < 1 or self.thresh_size < 0:
            raise ValueError(
                f"crop_size is {self.crop_size}, step {self.step}, thresh_size {self.thresh_size}; "
                "give the first two at least 1, the third at least 0"
            )

    def cut(self, key: str, picture: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Cuts a picture (H, W, 3) row by row into (crop_size, crop_size, 3).

        Gives each with its key, `KEY_s001` and so on. A scale at the end of the picture's own key goes, x2 as
        in 0801x2, so that LR and HR sub-images have the same keys.

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
        """The key of a picture's sub-image, of which the first has number 1."""
        return re.sub(r"x[2348]$", "", key) + f"_s{number:03d}"

    def _starts(self, length: int) -> list[int]:
        starts = list(range(0, length - self.crop_size + 1, self.step))
        if length - (starts[-1] + self.crop_size) > self.thresh_size:
            starts.append(length - self.crop_size)
        return starts
