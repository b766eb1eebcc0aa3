"""Random LR patches and the matching HR patches for training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from moeisr_plugin.data.grids import Size
from moeisr_plugin.data.pair_grids import grids_of_pairs
from moeisr_plugin.data.resampling import downsample, to_unit
from moeisr_plugin.data.storage import PictureSource

_TOLERANCE = 1e-6
"""HR pixels; covers rounding errors of products with a scale."""


class PatchPair(NamedTuple):
    """An LR patch and the HR pixels whose centres are in it.

    Attributes:
        lr: (lr_size, lr_size, 3) float32 RGB in [0, 1].
        hr: (H, W, 3), likewise.
        spans: height and width of the LR patch in HR pixels; these need not be integers.
        offsets: vertical and horizontal distance from the edges of the LR patch to those of the first HR
            pixel, in HR pixels.
    """

    lr: np.ndarray
    hr: np.ndarray
    spans: tuple[float, float]
    offsets: tuple[float, float] = (0.0, 0.0)

    def flipped(self, axis: int) -> "PatchPair":
        """Return both patches mirrored along an axis, 0 for vertical or 1 for horizontal."""
        first = self.spans[axis] - self.offsets[axis] - self.hr.shape[axis]
        offsets = (first, self.offsets[1]) if axis == 0 else (self.offsets[0], first)
        return self._replace(lr=np.flip(self.lr, axis), hr=np.flip(self.hr, axis), offsets=offsets)

    def transposed(self) -> "PatchPair":
        """Return both patches with rows and columns exchanged."""
        (down, across), (top, left) = self.spans, self.offsets
        return PatchPair(self.lr.swapaxes(0, 1), self.hr.swapaxes(0, 1), (across, down), (left, top))

    def centres(self, axis: int) -> Tensor:
        """Return the centres of the HR pixels along an axis, (H,) or (W,) float32 in [-1, 1] of the LR patch.

        Without an offset, the order of the operations is that of the LIIF code.
        """
        span, first = self.spans[axis], self.offsets[axis]
        return (
            -1 + (2 * first + 1) / span + (2 / span) * torch.arange(self.hr.shape[axis], dtype=torch.float32)
        )


class Patches(Protocol):
    """Source of random pairs of patches.

    Attributes:
        fewest_pixels: smallest number of pixels of an HR patch.
    """

    fewest_pixels: int

    def draw(self, index: int, rng: np.random.Generator, *, scale: float | None = None) -> PatchPair:
        """Return a random pair of patches of picture `index`.

        Args:
            index: of the picture.
            rng: generator of the random choices.
            scale: the scale, or the nearest one that the picture allows. None draws one.
        """
        ...


class DownsampledPatches:
    """HR patches, downsampled on the fly at a random scale per patch (LIIF, section 4; LTE).

    For a picture too small for the largest scale, the range of scales is reduced to those that fit.

    Args:
        hr: the pictures.
        lr_size: rows and columns of an LR patch.
        scale_range: smallest and largest scale, at least 1.

    Raises:
        ValueError: a picture is too small for the smallest scale.
    """

    def __init__(self, hr: PictureSource, *, lr_size: int, scale_range: Sequence[float]):
        smallest, largest = scale_range
        sizes = [min(hr.header(index)[:2]) for index in range(len(hr))]
        needed, wanted = round(lr_size * smallest), round(lr_size * largest)
        if too_small := [index for index, size in enumerate(sizes) if size < needed]:
            h, w = hr.header(too_small[0])[:2]
            raise ValueError(
                f"{hr.path(too_small[0])}: {h}x{w} is too small for lr_size {lr_size} at scale {smallest}, "
                f"which needs {needed}x{needed} (so are {len(too_small)} of {len(hr)} pictures); "
                "remove them or lower lr_size"
            )
        if limited := sum(size < wanted for size in sizes):
            get_root_logger().warning(
                f"{hr.label}: {limited} of {len(hr)} pictures are smaller than {wanted}x{wanted}, which "
                f"lr_size {lr_size} needs at scale {largest}; their largest scale is reduced."
            )
        self._hr = hr
        self._lr_size = lr_size
        self._smallest_scale = smallest
        self._largest_scales = [min(largest, size / lr_size) for size in sizes]
        self.fewest_pixels = needed**2

    def draw(self, index: int, rng: np.random.Generator, *, scale: float | None = None) -> PatchPair:
        picture = self._hr.read(index)
        # round(lr_size * scale) may fit although size / lr_size is below the smallest scale.
        largest = max(self._smallest_scale, self._largest_scales[index])
        scale = rng.uniform(self._smallest_scale, largest) if scale is None else min(scale, largest)
        n = round(self._lr_size * scale)
        top, left = (int(rng.integers(size - n + 1)) for size in picture.shape[:2])
        patch = picture[top : top + n, left : left + n]
        return PatchPair(downsample(patch, Size(self._lr_size, self._lr_size)), to_unit(patch), (n, n))


class PairedPatches:
    """Patches of LR pictures and the same areas of their HR pictures, at any scale per axis.

    Attributes:
        grids: common area of each pair.
        shortest_side: smallest number of rows or columns of an HR patch.
        fewest_pixels: smallest number of pixels of an HR patch.

    Args:
        hr: the HR pictures.
        lr: the LR pictures, in the same order.
        lr_size: rows and columns of an LR patch.
        opt: options of `pair_grids.grids_of_pairs`.

    Raises:
        ValueError: the sizes of a pair do not fit, or an LR picture is too small; one line.
    """

    def __init__(
        self, hr: PictureSource, lr: PictureSource, *, lr_size: int, opt: Mapping[str, Any] | None = None
    ):
        self._hr = hr
        self._lr = lr
        self._lr_size = lr_size
        self.grids = grids_of_pairs(hr, lr, opt or {})
        for index, grids in enumerate(self.grids):
            if min(grids.lr) < lr_size:
                size = f"{grids.lr.height}x{grids.lr.width}"
                raise ValueError(
                    f"{lr.path(index)}: {size} is too small for lr_size {lr_size}; remove it or lower lr_size"
                )
        sizes = [[math.floor(lr_size * s + _TOLERANCE) for s in grids.scale] for grids in self.grids]
        self.shortest_side = min(min(size) for size in sizes)
        self.fewest_pixels = min(height * width for height, width in sizes)

    def draw(self, index: int, rng: np.random.Generator, *, scale: float | None = None) -> PatchPair:
        hr, lr = self._hr.read(index), self._lr.read(index)
        grids, n = self.grids[index], self._lr_size
        corner = tuple(int(rng.integers(fit - n + 1)) for fit in grids.lr)
        rows, columns = (
            _centres_within(first, n, scale) for first, scale in zip(corner, grids.scale, strict=True)
        )
        top, left = corner
        return PatchPair(
            to_unit(lr[top : top + n, left : left + n]),
            to_unit(hr[rows.start : rows.stop, columns.start : columns.stop]),
            (n * grids.scale[0], n * grids.scale[1]),
            (rows.start - top * grids.scale[0], columns.start - left * grids.scale[1]),
        )


def _centres_within(first: int, n: int, scale: float) -> range:
    """Return the HR pixels whose centres are in n LR pixels."""
    start, stop = (math.ceil(edge * scale - 0.5 - _TOLERANCE) for edge in (first, first + n))
    return range(start, stop)
