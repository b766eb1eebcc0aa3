"""Whole pictures at any scale for validation and testing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from moeisr_plugin.data.grids import Grids, Size, TooFewPixelsError, match_grids, scale_per_axis
from moeisr_plugin.data.pair_grids import grids_of_pairs, log_scales, size_of
from moeisr_plugin.data.pairing import open_pairs
from moeisr_plugin.data.resampling import DOWNSAMPLING, downsample, to_unit
from moeisr_plugin.data.storage import PictureSource


@DATASET_REGISTRY.register()
class ScaleValidationDataset(Dataset):
    """Dataset of LR pictures at one scale, with their HR if available.

    Accepts HR only (LR is downsampled from it), pairs of HR and LR, or LR only.

    Args:
        opt: options of `pairing.open_pairs`, and:
            dataroot_gt: HR pictures.
            dataroot_lq: LR pictures.
            scale: a number or [vertical, horizontal], at least 1. Pairs may omit it, see
                `pair_grids.grids_of_pairs`.
            mixed_scales: see `pair_grids.grids_of_pairs`.
            downsample: method for LR from HR only: pil (default; as published for scales without benchmark
                LR) or matlab.
            skip_bad_pictures: decode all pictures at the start, so that all results use the same pictures.

        skip_too_small: leave out HR pictures with fewer pixels than the scale. Otherwise they are an error.

    Attributes:
        too_small: names of the pictures left out, and the reasons.

    Raises:
        ValueError: the options contradict each other or the pictures; one line.
    """

    def __init__(self, opt: Mapping[str, Any], *, skip_too_small: bool = False):
        self.opt = opt
        self.too_small: dict[str, str] = {}
        self.downsample = opt.get("downsample", DOWNSAMPLING[0])
        if self.downsample not in DOWNSAMPLING:
            raise ValueError(f"downsample is {self.downsample!r}; give one of {', '.join(DOWNSAMPLING)}")
        self.hr, self.lr = open_pairs(opt, decode_all=opt.get("skip_bad_pictures", False))
        if skip_too_small and self.hr is not None and self.lr is None:
            self.hr = self._large_enough(self.hr)
        self.grids = self._grids()

    def __len__(self) -> int:
        return len(self._naming_pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a sample.

        Returns:
            lq: (3, h, w) RGB in [0, 1].
            scale: (2,) float64, vertical and horizontal.
            lq_path: path of the LR picture, or of the HR picture if LR is made from it.
            name: the same path relative to its root, without suffix.
            gt, gt_path: (3, H, W) RGB in [0, 1] and its path, if there is HR.
        """
        grids = self.grids[index]
        sample: dict[str, Any] = {
            "scale": torch.tensor(grids.scale, dtype=torch.float64),
            "lq_path": self._naming_pictures.path(index),
            "name": self._naming_pictures.keys[index],
        }
        if self.hr is not None:
            hr = _crop_top_left(self.hr.read(index), grids.hr)
            sample["gt"] = _to_tensor(to_unit(hr))
            sample["gt_path"] = self.hr.path(index)
            if self.lr is None:
                sample["lq"] = _to_tensor(downsample(hr, grids.lr, self.downsample))
        if self.lr is not None:
            sample["lq"] = _to_tensor(to_unit(_crop_top_left(self.lr.read(index), grids.lr)))
        return sample

    @property
    def _naming_pictures(self) -> PictureSource:
        """The pictures whose names the results have: LR if given, else HR."""
        pictures = self.lr or self.hr
        assert pictures is not None  # open_pairs returns at least one
        return pictures

    def _large_enough(self, hr: PictureSource) -> PictureSource:
        """Return the pictures with at least as many pixels as the scale, and note the others."""
        for index in range(len(hr)):
            try:
                match_grids(hr=size_of(hr, index), lr=None, scale=scale_per_axis(self.opt["scale"]))
            except TooFewPixelsError as error:
                self.too_small[hr.keys[index]] = str(error).partition(";")[0]
        return hr.take(key for key in hr.keys if key not in self.too_small)

    def _grids(self) -> list[Grids]:
        if self.hr is not None and self.lr is not None:
            grids = grids_of_pairs(self.hr, self.lr, self.opt)
            if self.opt.get("scale") is None:
                log_scales(self.lr, grids)
            return grids
        scale = None if self.opt.get("scale") is None else scale_per_axis(self.opt["scale"])
        return [self._grids_of_one(index, scale) for index in range(len(self))]

    def _grids_of_one(self, index: int, scale: tuple[float, float] | None) -> Grids:
        """Return the grids of a picture without partner."""
        size = size_of(self._naming_pictures, index)
        try:
            return match_grids(
                hr=None if self.hr is None else size, lr=None if self.lr is None else size, scale=scale
            )
        except ValueError as error:
            raise ValueError(f"{self._naming_pictures.path(index)}: {error}") from None


def _crop_top_left(picture: np.ndarray, size: Size) -> np.ndarray:
    return np.ascontiguousarray(picture[: size.height, : size.width])


def _to_tensor(picture: np.ndarray) -> Tensor:
    """Convert (H, W, 3) to a tensor (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(picture, 2, 0)))
