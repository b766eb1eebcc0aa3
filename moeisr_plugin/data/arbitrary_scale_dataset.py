"""Training samples: an LR patch and some pixels of the HR patch it shows, at any scale."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from moeisr_plugin.data.pairing import open_pairs
from moeisr_plugin.data.patches import DownsampledPatches, PairedPatches, Patches
from moeisr_plugin.data.sample_order import SampleRequest
from moeisr_plugin.pictures import PictureError


@DATASET_REGISTRY.register()
class ArbitraryScaleDataset(Dataset):
    """Random patches at random scales, with HR pixels to query (LIIF, section 4; LTE likewise).

    Args:
        opt: the dataset's options. Beside those of `pairing.open_pairs`, which name the pictures:
            dataroot_gt: HR pictures, in a folder or an LMDB.
            dataroot_lq: LR pictures, an integer scale smaller; without them, LR is made by PIL's bicubic.
            lr_size: rows and columns of an LR patch, default 48.
            scale_range: smallest and largest scale, default [1, 4]; unused with dataroot_lq.
            sample_q: HR pixels drawn from each patch without replacement, default 2304.
            use_hflip: mirror left and right at random, default true.
            use_rot: mirror top and bottom, and swap rows and columns, at random, default true.
            skip_bad_pictures: a picture that turns out to be damaged during training is named once in each
                worker, and from then on the next good one is seen in its place. Default false: it stops the
                training.

    Raises:
        ValueError: options that fit neither each other nor the pictures, in one line.
    """

    def __init__(self, opt: Mapping[str, Any]):
        self.opt = opt
        self.skip_bad_pictures = opt.get("skip_bad_pictures", False)
        self._bad: set[int] = set()
        self.use_hflip = opt.get("use_hflip", True)
        self.use_rot = opt.get("use_rot", True)
        self.sample_q = opt.get("sample_q", 2304)
        lr_size = opt.get("lr_size", 48)
        scale_range = opt.get("scale_range", (1, 4))
        if not 1 <= scale_range[0] <= scale_range[1]:
            raise ValueError(f"scale_range is {list(scale_range)}; give [smallest, largest], both at least 1")
        hr, lr = open_pairs(opt)
        if hr is None:
            raise ValueError("dataroot_gt is missing; training needs HR pictures")
        self.hr = hr
        self.lr = lr
        self.patches: Patches
        if lr is None:
            self.patches = DownsampledPatches(hr, lr_size=lr_size, scale_range=scale_range)
        else:
            self.patches = PairedPatches(hr, lr, lr_size=lr_size)
        if self.sample_q > self.patches.fewest_pixels:
            raise ValueError(
                f"sample_q is {self.sample_q}, but the smallest HR patches have "
                f"{self.patches.fewest_pixels} pixels; lower it or raise lr_size"
            )

    def __len__(self) -> int:
        return len(self.hr)

    accepts_requests = True  # of `sample_order`

    def __getitem__(self, request: int | SampleRequest) -> dict[str, Any]:
        """The sample of a draw, with its epoch and place; of a mere index one that torch's state decides."""
        if isinstance(request, SampleRequest):
            return {
                **self.sample(request.index, seed=request.seed),
                "epoch": request.epoch,
                "order_index": request.order_index,
            }
        return self.sample(request, seed=int(torch.randint(2**63 - 1, ())))

    def sample(self, index: int, *, seed: int | Sequence[int]) -> dict[str, Any]:
        """The sample of a picture that a seed stands for, whatever the pictures are stored in.

        Returns:
            lq (3, lr_size, lr_size) RGB in [0, 1]; gt (Q, 3), the HR pixels drawn, in [0, 1]; coord (Q, 2),
            their centres in the patch, y first, in [-1, 1]; cell (2,), the size of one; gt_path, lq_path.

        Raises:
            PictureError: the picture cannot be read; with skip_bad_pictures, no picture can.
        """
        while True:
            good = self._next_good(index)
            try:
                return self._sample(good, seed)
            except PictureError as error:
                if not self.skip_bad_pictures:
                    raise
                self._bad.add(good)
                if len(self._bad) == len(self):
                    raise PictureError(f"{error} (none of {len(self)} pictures can be read)") from error
                get_root_logger().warning(
                    f"Skipped: {error} ({len(self._bad)} of {len(self)} pictures so far)"
                )

    def _next_good(self, index: int) -> int:
        """The first index from this one on, cyclically, whose picture has not failed."""
        while index in self._bad:
            index = (index + 1) % len(self)
        return index

    def _sample(self, index: int, seed: int | Sequence[int]) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        lr, hr = self.patches.draw(index, rng)
        lr, hr = self._flip(lr, hr, rng)
        height, width = hr.shape[:2]
        drawn = rng.choice(height * width, self.sample_q, replace=False)
        y, x = (torch.from_numpy(axis) for axis in np.divmod(drawn, width))
        path = self.hr.path(index)
        return {
            "lq": torch.from_numpy(np.ascontiguousarray(np.moveaxis(lr, 2, 0))),  # (3, h, w)
            "gt": torch.from_numpy(hr.reshape(height * width, 3)[drawn]),  # (Q, 3)
            "coord": torch.stack([_pixel_centers(height)[y], _pixel_centers(width)[x]], dim=1),  # (Q, 2)
            "cell": torch.tensor([2 / height, 2 / width]),
            "lq_path": path if self.lr is None else self.lr.path(index),
            "gt_path": path,
        }

    def _flip(
        self, lr: np.ndarray, hr: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mirrors and transposes both patches (n, n, 3) alike."""
        hflip, vflip, transpose = rng.random(3) < 0.5
        if self.use_hflip and hflip:
            lr, hr = lr[:, ::-1], hr[:, ::-1]
        if self.use_rot and vflip:
            lr, hr = lr[::-1], hr[::-1]
        if self.use_rot and transpose:
            lr, hr = lr.swapaxes(0, 1), hr.swapaxes(0, 1)
        return lr, hr


def _pixel_centers(n: int) -> Tensor:
    """Centres of n pixels side by side in [-1, 1], float32, summed in the order of the published code."""
    return -1 + 1 / n + (2 / n) * torch.arange(n, dtype=torch.float32)
