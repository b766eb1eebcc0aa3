"""An evaluation data set at one scale."""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from moeisr_plugin.data.benchmark_layouts import benchmark_options
from moeisr_plugin.data.scale_validation_dataset import ScaleValidationDataset

Scale = tuple[float, float]
"""Vertical and horizontal."""


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
        folder, scale, lr: see `benchmark_options`.

    Raises:
        ValueError: pictures are missing, or their sizes do not fit the scale.
    """

    def __init__(self, folder: Path, scale: Scale, lr: str) -> None:
        options = benchmark_options(folder, scale, lr)
        self.name = folder.resolve().name
        self.scale = scale
        self.label = scale_label(scale)
        self.lr = options.get("downsample", "given")
        self._pictures = ScaleValidationDataset(options)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:
        sample = self._pictures[index]
        return Sample(self, Path(sample["gt_path"]).stem, sample["lq"][None], sample["gt"][None])

    def notes(self) -> list[str]:
        """Return notes on the conversion of pictures that are not RGB."""
        hr = self._pictures.hr
        assert hr is not None  # benchmark_options sets dataroot_gt
        transparent = sum(hr.header(index).has_alpha for index in range(len(hr)))
        grey = sum(hr.header(index).is_grey for index in range(len(hr)))
        notes = {
            f"Alpha was dropped from {transparent} of {len(hr)} HR pictures.": transparent,
            f"Grey counts as three equal channels in {grey} of {len(hr)} HR pictures; by luma that gives "
            "1.32 dB more than comparing the grey itself, as evaluations in MATLAB do.": grey,
        }
        return [note for note, count in notes.items() if count]


class SampleReference(NamedTuple):
    """Reference to a sample whose pictures are read on demand."""

    test_set: ScaledSet
    index: int

    def sample(self) -> Sample:
        return self.test_set[self.index]


def scale_label(scale: Scale) -> str:
    """Format a scale (vertical, horizontal) as on the command line, horizontal first."""
    return f"{scale[0]:g}" if scale[0] == scale[1] else f"{scale[1]:g}x{scale[0]:g}"
