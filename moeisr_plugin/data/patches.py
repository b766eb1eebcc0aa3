"""Random LR patches and the matching HR patches for training."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from basicsr.utils import get_root_logger

from moeisr_plugin.data.grids import Size, common_integer_scale
from moeisr_plugin.data.resampling import downsample, to_unit
from moeisr_plugin.data.storage import PictureSource


class Patches(Protocol):
    """Source of random pairs of patches.

    Attributes:
        fewest_pixels: smallest number of pixels of an HR patch.
    """

    fewest_pixels: int

    def draw(
        self, index: int, rng: np.random.Generator, *, scale: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return LR (lr_size, lr_size, 3) and HR (n, n, 3) of picture `index`, float32 RGB in [0, 1].

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
                f"{hr.root}: {limited} of {len(hr)} pictures are smaller than {wanted}x{wanted}, which "
                f"lr_size {lr_size} needs at scale {largest}; their largest scale is reduced."
            )
        self._hr = hr
        self._lr_size = lr_size
        self._smallest_scale = smallest
        self._largest_scales = [min(largest, size / lr_size) for size in sizes]
        self.fewest_pixels = needed**2

    def draw(
        self, index: int, rng: np.random.Generator, *, scale: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        picture = self._hr.read(index)
        # round(lr_size * scale) may fit although size / lr_size is below the smallest scale.
        largest = max(self._smallest_scale, self._largest_scales[index])
        scale = rng.uniform(self._smallest_scale, largest) if scale is None else min(scale, largest)
        n = round(self._lr_size * scale)
        top, left = (int(rng.integers(size - n + 1)) for size in picture.shape[:2])
        patch = picture[top : top + n, left : left + n]
        return downsample(patch, Size(self._lr_size, self._lr_size)), to_unit(patch)


class PairedPatches:
    """Patches of LR pictures and the same areas of their HR pictures.

    Args:
        hr: the HR pictures.
        lr: the LR pictures, in the same order.
        lr_size: rows and columns of an LR patch.

    Raises:
        ValueError: the scale of a pair is not an integer, or an LR picture is too small.
    """

    def __init__(self, hr: PictureSource, lr: PictureSource, *, lr_size: int):
        self._hr = hr
        self._lr = lr
        self._lr_size = lr_size
        self._scales = [self._scale(index) for index in range(len(hr))]
        self.fewest_pixels = (lr_size * min(self._scales)) ** 2

    def draw(
        self, index: int, rng: np.random.Generator, *, scale: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        hr, lr = self._hr.read(index), self._lr.read(index)
        factor, n = self._scales[index], self._lr_size
        top, left = (int(rng.integers(fit - n + 1)) for fit in _shared_size(hr.shape, lr.shape, factor))
        hr_patch = hr[top * factor : (top + n) * factor, left * factor : (left + n) * factor]
        return to_unit(lr[top : top + n, left : left + n]), to_unit(hr_patch)

    def _scale(self, index: int) -> int:
        hr, lr = (Size(*source.header(index)[:2]) for source in (self._hr, self._lr))
        scale = common_integer_scale(hr, lr)
        if scale is None:
            raise ValueError(
                f"{self._lr.path(index)}: no integer scale from {lr.height}x{lr.width} to the "
                f"{hr.height}x{hr.width} of {self._hr.path(index)}; training on pairs needs one"
            )
        if min(_shared_size(hr, lr, scale)) < self._lr_size:
            raise ValueError(
                f"{self._lr.path(index)}: {lr.height}x{lr.width} is too small for lr_size {self._lr_size}; "
                "remove it or lower lr_size"
            )
        return scale


def _shared_size(hr: Sequence[int], lr: Sequence[int], scale: int) -> Size:
    """Return the size of the top left crop of an LR picture that its HR picture covers completely."""
    return Size(min(lr[0], hr[0] // scale), min(lr[1], hr[1] // scale))
