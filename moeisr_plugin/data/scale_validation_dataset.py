"""Whole pictures to validate and test on, at any scale."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from moeisr_plugin.data.grids import Grids, Size, match_grids, scale_per_axis
from moeisr_plugin.data.pairing import open_pairs
from moeisr_plugin.data.resampling import DOWNSAMPLING, downsample, to_unit
from moeisr_plugin.data.storage import PictureSource


@DATASET_REGISTRY.register()
class ScaleValidationDataset(Dataset):
    """LR pictures, with their HR where there is one, at one scale.

    What is given decides: HR alone, from which LR is made; pairs of HR and LR; LR alone, to be enlarged.

    Args:
        opt: the dataset's options. Beside those of `pairing.open_pairs`, which name the pictures:
            dataroot_gt: HR pictures, in a folder or an LMDB.
            dataroot_lq: LR pictures.
            scale: a number or [vertical, horizontal], at least 1. For pairs it may be missing: the sizes
                then tell.
            downsample: how LR is made from HR alone: pil (default, as published at the scales for which
                benchmarks have no LR of their own) or matlab.
            skip_bad_pictures: all pictures are then decoded at the start, so that results are of the same
                pictures throughout.

    Raises:
        ValueError: options that fit neither each other nor the pictures, in one line.
    """

    def __init__(self, opt: Mapping[str, Any]):
        self.opt = opt
        self.downsample = opt.get("downsample", DOWNSAMPLING[0])
        if self.downsample not in DOWNSAMPLING:
            raise ValueError(f"downsample is {self.downsample!r}; give one of {', '.join(DOWNSAMPLING)}")
        self.hr, self.lr = open_pairs(opt, decode_all=opt.get("skip_bad_pictures", False))
        scale = None if opt.get("scale") is None else scale_per_axis(opt["scale"])
        self.grids = [self._grids(index, scale) for index in range(len(self))]

    def __len__(self) -> int:
        return len(self._namesakes)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Gives a picture.

        Returns:
            lq (3, h, w) RGB in [0, 1]; scale (2,) float64, vertical first; lq_path (the HR's where LR is
            made from it), and as name the same below its root and without suffix; and where HR is known
            gt (3, H, W) in [0, 1] and gt_path.
        """
        grids = self.grids[index]
        sample: dict[str, Any] = {
            "scale": torch.tensor(grids.scale, dtype=torch.float64),
            "lq_path": self._namesakes.path(index),
            "name": self._namesakes.keys[index],
        }
        if self.hr is not None:
            hr = _top_left(self.hr.read(index), grids.hr)
            sample["gt"] = _planes(to_unit(hr))
            sample["gt_path"] = self.hr.path(index)
            if self.lr is None:
                sample["lq"] = _planes(downsample(hr, grids.lr, self.downsample))
        if self.lr is not None:
            sample["lq"] = _planes(to_unit(_top_left(self.lr.read(index), grids.lr)))
        return sample

    @property
    def _namesakes(self) -> PictureSource:
        """The pictures that results are named after: LR, or HR where there is no other."""
        pictures = self.lr or self.hr
        assert pictures is not None  # open_pairs gives one at least
        return pictures

    def _grids(self, index: int, scale: tuple[float, float] | None) -> Grids:
        try:
            return match_grids(hr=_size(self.hr, index), lr=_size(self.lr, index), scale=scale)
        except ValueError as error:
            raise ValueError(f"{self._namesakes.path(index)}: {error}") from None


def _size(pictures: PictureSource | None, index: int) -> Size | None:
    return None if pictures is None else Size(*pictures.header(index)[:2])


def _top_left(picture: np.ndarray, size: Size) -> np.ndarray:
    return np.ascontiguousarray(picture[: size.height, : size.width])


def _planes(picture: np.ndarray) -> Tensor:
    """(H, W, 3) → (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(picture, 2, 0)))
