"""An evaluation data set at one scale."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from torch import Tensor

from moeisr_plugin.data.benchmark_layouts import benchmark_options, unused_lr
from moeisr_plugin.data.grids import Size
from moeisr_plugin.data.scale_names import Scale, scale_label
from moeisr_plugin.data.scale_validation_dataset import ScaleValidationDataset
from moeisr_plugin.data.storage import PictureSource


class Sample(NamedTuple):
    """A pair of LR and HR pictures."""

    test_set: "ScaledSet"
    name: str
    lr: Tensor  # (1, 3, h, w) in [0, 1]
    hr: Tensor  # (1, 3, H, W) in [0, 1]

    @property
    def size(self) -> tuple[int, int]:
        return self.hr.shape[2], self.hr.shape[3]


class ScaledSet:
    """An evaluation data set at one scale.

    Args:
        folder, scale, lr, lr_folder: see `benchmark_options`.

    Attributes:
        name: name of the folder.
        scale, label: the scale, and its text.
        lr: source of the LR: given, matlab or pil.
        too_small: names of the pictures that are left out because they have fewer pixels than the scale, and
            the reasons.

    Raises:
        ValueError: pictures are missing, or their sizes do not fit the scale.
    """

    def __init__(self, folder: Path, scale: Scale, lr: str, lr_folder: Path | None = None) -> None:
        options = benchmark_options(folder, scale, lr, lr_folder)
        self.name = folder.resolve().name
        self.scale = scale
        self.label = scale_label(scale)
        self.lr = options.get("downsample", "given")
        self._unused = unused_lr(folder, scale, lr, options)
        self._pictures = ScaleValidationDataset(options, skip_too_small=True)
        self.too_small = {PurePosixPath(key).name: text for key, text in self._pictures.too_small.items()}

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:
        sample = self._pictures[index]
        return Sample(self, Path(sample["gt_path"]).stem, sample["lq"][None], sample["gt"][None])

    def picture_names(self) -> list[str]:
        """Return the names of the samples."""
        return [self.name_of(index) for index in range(len(self))]

    def name_of(self, index: int) -> str:
        """Return the name of a sample."""
        return Path(self._hr.path(index)).stem

    def size_of(self, index: int) -> Size:
        """Return the size of an HR picture as measured."""
        return self._pictures.grids[index].hr

    def is_grey(self, index: int) -> bool:
        """Return whether the file of an HR picture is grey."""
        return self._hr.header(index).is_grey

    @property
    def _hr(self) -> PictureSource:
        hr = self._pictures.hr
        assert hr is not None  # benchmark_options sets dataroot_gt
        return hr

    def notes(self) -> list[str]:
        """Return notes on LR that is not used and on alpha."""
        transparent = sum(self._hr.header(index).has_alpha for index in range(len(self)))
        dropped = [f"Alpha was dropped from {transparent} of {len(self)} HR pictures."] if transparent else []
        return dropped + ([] if self._unused is None else [self._unused])


class SampleReference(NamedTuple):
    """Reference to a sample whose pictures are read on demand."""

    test_set: ScaledSet
    index: int

    @property
    def label(self) -> str:
        """The picture and the scale, for messages."""
        return f"{self.test_set.name_of(self.index)} at ×{self.test_set.label}"

    def sample(self) -> Sample:
        return self.test_set[self.index]
