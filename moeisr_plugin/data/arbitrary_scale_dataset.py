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
from moeisr_plugin.data.pair_grids import log_scales
from moeisr_plugin.data.pairing import open_pairs
from moeisr_plugin.data.patches import DownsampledPatches, PairedPatches, Patches, PatchPair
from moeisr_plugin.data.sample_order import SampleRequest
from moeisr_plugin.data.whole_patches import WHOLE, cut, cut_alike, grid
from moeisr_plugin.pictures import PictureError
from moeisr_plugin.utils import processes


@DATASET_REGISTRY.register()
class ArbitraryScaleDataset(Dataset):
    """Dataset of random patches at random scales with sampled HR pixels (LIIF, section 4; LTE).

    Args:
        opt: options of `pairing.open_pairs`, and:
            dataroot_gt: HR pictures.
            dataroot_lq: LR pictures, at any scale. Default: LR by bicubic downsampling (PIL).
            scale, mixed_scales: scale of given pairs, see `pair_grids.grids_of_pairs`.
            lr_size: rows and columns of an LR patch, default 48.
            scale_range: smallest and largest scale, default [1, 4]; unused with dataroot_lq.
            sample_q: HR pixels sampled per patch without replacement, default 2304. Or `all`: the whole HR
                patch as a picture. The patches of a batch then have one scale, and are cut to one size.
            hr_size: with `sample_q: all`, rows and columns of a random window of the HR patch that is used
                instead of the whole. Each patch then has its own scale. Default: none.
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
        self.sample_q: int | str = opt.get("sample_q", 2304)
        self.hr_size: int | None = opt.get("hr_size")
        self._rank = processes.rank()  # workers do not know it
        self.degrade = Degradation(opt.get("degradation") or {})
        lr_size = opt.get("lr_size", 48)
        self.scale_range = scale_range = opt.get("scale_range", (1, 4))
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
            self.patches = paired = PairedPatches(hr, lr, lr_size=lr_size, opt=opt)
            log_scales(lr, paired.grids)
        if isinstance(self.sample_q, str):
            if self.sample_q != WHOLE:
                raise ValueError(f"sample_q is {self.sample_q!r}; give a whole number, or {WHOLE}")
        elif self.hr_size is not None:
            raise ValueError(f"hr_size is {self.hr_size}, but needs whole patches; set sample_q: {WHOLE}")
        elif self.sample_q > self.patches.fewest_pixels:
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
        return self._at_scale(request, None)

    def __getitems__(self, requests: Sequence[int | SampleRequest]) -> list[dict[str, Any]]:
        """Return the samples of a batch; whole patches have one scale and one size."""
        if self.sample_q != WHOLE or self.hr_size is not None:
            return [self[request] for request in requests]
        first, seed = requests[0], [int(torch.randint(2**63 - 1, ()))]
        if isinstance(first, SampleRequest):
            # The same for the batches of all processes, whose order indices alternate.
            seed = [first.training_seed, first.epoch, first.order_index - self._rank, 0]
        scale = np.random.default_rng(seed).uniform(*self.scale_range)
        return cut_alike([self._at_scale(request, scale) for request in requests])

    def _at_scale(self, request: int | SampleRequest, scale: float | None) -> dict[str, Any]:
        if isinstance(request, SampleRequest):
            return {
                **self.sample(request.index, seed=request.seed, scale=scale),
                "epoch": request.epoch,
                "order_index": request.order_index,
            }
        return self.sample(request, seed=int(torch.randint(2**63 - 1, ())), scale=scale)

    def sample(self, index: int, *, seed: int | Sequence[int], scale: float | None = None) -> dict[str, Any]:
        """Return the sample of a picture for a seed. The result does not depend on the storage.

        Args:
            index: of the picture.
            seed: of the random choices.
            scale: the scale, or the nearest one that the picture allows. None draws one.

        Returns:
            lq: (3, lr_size, lr_size) RGB in [0, 1].
            gt: (Q, 3), the sampled HR pixels, RGB in [0, 1]; a picture (3, H, W) with `sample_q: all`.
            coord: (Q, 2), their centres in the LR patch, (y, x) in [-1, 1]; of a picture, row by row.
            cell: (2,), the (y, x) size of an HR pixel in these coordinates.
            gt_path, lq_path: the paths of the pictures.

        Raises:
            PictureError: the picture cannot be read; with skip_bad_pictures, no picture can be read.
        """
        while True:
            good = self._next_good(index)
            try:
                return self._sample(good, seed, scale)
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

    def _sample(self, index: int, seed: int | Sequence[int], scale: float | None) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        patch = self._flip(self.patches.draw(index, rng, scale=scale), rng)
        rows, columns = patch.centres(0), patch.centres(1)
        if isinstance(self.sample_q, str):
            targets = self._window(_picture(patch.hr, rows, columns), rng)
        else:
            height, width = patch.hr.shape[:2]
            pixels = rng.choice(height * width, self.sample_q, replace=False)  # (Q,)
            y, x = (torch.from_numpy(axis) for axis in np.divmod(pixels, width))
            targets = {
                "gt": torch.from_numpy(patch.hr.reshape(height * width, 3)[pixels]),  # (Q, 3)
                "coord": torch.stack([rows[y], columns[x]], dim=1),  # (Q, 2)
            }
        lr = self.degrade(patch.lr, rng)  # last, so that all else is the same with and without it
        path = self.hr.path(index)
        return {
            "lq": torch.from_numpy(np.ascontiguousarray(np.moveaxis(lr, 2, 0))),  # (3, h, w)
            **targets,
            "cell": torch.tensor([2 / span for span in patch.spans]),
            "lq_path": path if self.lr is None else self.lr.path(index),
            "gt_path": path,
        }

    def _window(self, targets: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return a random window of a picture with its coordinates, or the whole without `hr_size`."""
        if self.hr_size is None:
            return targets
        spare = [side - self.hr_size for side in targets["gt"].shape[1:]]
        if min(spare) < 0:
            raise ValueError(
                f"hr_size is {self.hr_size}, but an HR patch has {self.hr_size + spare[0]}x"
                f"{self.hr_size + spare[1]} pixels; lower it, or raise lr_size or the smallest scale"
            )
        top, left = (int(rng.integers(each + 1)) for each in spare)
        return cut(targets, top, left, self.hr_size, self.hr_size)

    def _flip(self, patch: PatchPair, rng: np.random.Generator) -> PatchPair:
        """Apply the same random flips and transposition to both patches."""
        hflip, vflip, transpose = rng.random(3) < 0.5
        if self.use_hflip and hflip:
            patch = patch.flipped(1)
        if self.use_rot and vflip:
            patch = patch.flipped(0)
        if self.use_rot and transpose:
            patch = patch.transposed()
        return patch


def _picture(hr: np.ndarray, rows: Tensor, columns: Tensor) -> dict[str, Any]:
    """Return an HR patch (H, W, 3) as a picture, with the coordinates of its pixels."""
    gt = torch.from_numpy(np.ascontiguousarray(np.moveaxis(hr, 2, 0)))  # (3, H, W)
    return {"gt": gt, "coord": grid(rows, columns)}
