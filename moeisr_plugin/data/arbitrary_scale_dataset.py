"""Training samples at arbitrary scales: an LR patch and sampled pixels of the matching HR patch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from moeisr_plugin.data.degradation import Degradation
from moeisr_plugin.data.pairing import open_pairs
from moeisr_plugin.data.patches import DownsampledPatches, PairedPatches, Patches
from moeisr_plugin.data.sample_order import SampleRequest
from moeisr_plugin.pictures import PictureError


@DATASET_REGISTRY.register()
class ArbitraryScaleDataset(Dataset):
    """Dataset of random patches at random scales with sampled HR pixels (LIIF, section 4; LTE).

    Args:
        opt: options of `pairing.open_pairs`, and:
            dataroot_gt: HR pictures, a folder or an LMDB.
            dataroot_lq: LR pictures, smaller by an integer scale. Default: LR by bicubic downsampling (PIL).
            lr_size: rows and columns of an LR patch, default 48.
            scale_range: smallest and largest scale, default [1, 4]; unused with dataroot_lq.
            sample_q: HR pixels sampled per patch without replacement, default 2304.
            use_hflip: mirror horizontally at random, default true.
            use_rot: mirror vertically and transpose, each at random, default true.
            degradation: blur, noise and JPEG compression of the LR patch, see `degradation.Degradation`.
                Default: none.
            skip_bad_pictures: replace a damaged picture by the next good one. Each worker logs it once.
                Default false: a damaged picture stops the training.

    Raises:
        ValueError: the options contradict each other or the pictures; one line.
    """

    def __init__(self, opt: Mapping[str, Any]):
        self.opt = opt
        self.skip_bad_pictures = opt.get("skip_bad_pictures", False)
        self._bad: set[int] = set()
        self.use_hflip = opt.get("use_hflip", True)
        self.use_rot = opt.get("use_rot", True)
        self.sample_q = opt.get("sample_q", 2304)
        self.degrade = Degradation(opt.get("degradation") or {})
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

    accepts_requests = True  # see `sample_order.SampleOrder`

    def __getitem__(self, request: int | SampleRequest) -> dict[str, Any]:
        """Return the sample of a request or of an index.

        A request has its own seed, and its epoch and order index are added to the sample. An index takes a
        seed from the random state of torch.
        """
        if isinstance(request, SampleRequest):
            return {
                **self.sample(request.index, seed=request.seed),
                "epoch": request.epoch,
                "order_index": request.order_index,
            }
        return self.sample(request, seed=int(torch.randint(2**63 - 1, ())))

    def sample(self, index: int, *, seed: int | Sequence[int]) -> dict[str, Any]:
        """Return the sample of a picture for a seed. The result does not depend on the storage.

        Returns:
            lq: (3, lr_size, lr_size) RGB in [0, 1].
            gt: (Q, 3), the sampled HR pixels, RGB in [0, 1].
            coord: (Q, 2), their centres in the patch, (y, x) in [-1, 1].
            cell: (2,), the (y, x) size of an HR pixel in these coordinates.
            gt_path, lq_path: the paths of the pictures.

        Raises:
            PictureError: the picture cannot be read; with skip_bad_pictures, no picture can be read.
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
        """Return the first index from `index` on, cyclically, whose picture is not known to be bad."""
        while index in self._bad:
            index = (index + 1) % len(self)
        return index

    def _sample(self, index: int, seed: int | Sequence[int]) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        lr, hr = self.patches.draw(index, rng)
        lr, hr = self._flip(lr, hr, rng)
        height, width = hr.shape[:2]
        pixels = rng.choice(height * width, self.sample_q, replace=False)  # (Q,)
        lr = self.degrade(lr, rng)  # last, so that all else is the same with and without it
        y, x = (torch.from_numpy(axis) for axis in np.divmod(pixels, width))
        path = self.hr.path(index)
        return {
            "lq": torch.from_numpy(np.ascontiguousarray(np.moveaxis(lr, 2, 0))),  # (3, h, w)
            "gt": torch.from_numpy(hr.reshape(height * width, 3)[pixels]),  # (Q, 3)
            "coord": torch.stack([_pixel_centers(height)[y], _pixel_centers(width)[x]], dim=1),  # (Q, 2)
            "cell": torch.tensor([2 / height, 2 / width]),
            "lq_path": path if self.lr is None else self.lr.path(index),
            "gt_path": path,
        }

    def _flip(
        self, lr: np.ndarray, hr: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Apply the same random flips and transposition to both patches, each (n, n, 3)."""
        hflip, vflip, transpose = rng.random(3) < 0.5
        if self.use_hflip and hflip:
            lr, hr = lr[:, ::-1], hr[:, ::-1]
        if self.use_rot and vflip:
            lr, hr = lr[::-1], hr[::-1]
        if self.use_rot and transpose:
            lr, hr = lr.swapaxes(0, 1), hr.swapaxes(0, 1)
        return lr, hr


def _pixel_centers(n: int) -> Tensor:
    """Return the centres of n pixels in [-1, 1], float32, with the order of operations of the LIIF code."""
    return -1 + 1 / n + (2 / n) * torch.arange(n, dtype=torch.float32)
