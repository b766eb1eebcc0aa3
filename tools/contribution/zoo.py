"""Rows for docs/ModelZoo.md of BasicSR, in its measure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils import tensor2img

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.data.grids import Size
from moeisr_plugin.data.pairing import open_pairs
from moeisr_plugin.data.resampling import downsample, to_unit

MULTIPLE = 12
"""HR pictures are cropped to multiples of this number, as in the folders GTmod12 of BasicSR."""


class Figures(NamedTuple):
    """Means over a data set."""

    psnr: float
    ssim: float


def measure(net: ImplicitNetwork, folder: Path, scale: int) -> Figures:
    """Measure as BasicSR: RGB, rounded to 8 bits, without a border as wide as the scale.

    LR pictures are made from HR as MATLAB makes them.

    Args:
        net: the network.
        folder: HR pictures, uncropped.
        scale: a divisor of `MULTIPLE`.

    Raises:
        ValueError: the folder holds no pictures, or too small ones.
    """
    pictures, _ = open_pairs({"dataroot_gt": str(folder)})
    assert pictures is not None
    found = []
    for index in range(len(pictures)):
        hr = pictures.read(index)
        height, width = (side - side % MULTIPLE for side in hr.shape[:2])
        if min(height, width) < 2 * MULTIPLE:
            raise ValueError(f"{pictures.path(index)}: is too small; leave it out")
        hr = hr[:height, :width]
        lr = downsample(hr, Size(height // scale, width // scale), "matlab")
        encoding = render.encode(net, _tensor(lr))
        images = [
            tensor2img([each])
            for each in (render.render(net, encoding, (height, width)), _tensor(to_unit(hr)))
        ]
        found.append(
            Figures(*(metric(*images, crop_border=scale) for metric in (calculate_psnr, calculate_ssim)))
        )
    return Figures(*np.mean(found, axis=0).tolist())


def rows(figures: Mapping[str, Mapping[str, Figures]], sets: Sequence[str]) -> str:
    """Return the table in the form of BasicSR.

    Args:
        figures: by name of the experiment and of the data set.
        sets: names of the data sets, in the order of the columns.
    """
    lines = ["|Exp Name         | " + " | ".join(f"{name} (PSNR/SSIM)" for name in sets) + " |"]
    lines.append("| :------------- |" + " :----------: |" * len(sets))
    for name, of_sets in figures.items():
        cells = [f"{of_sets[each].psnr:.4f} / {of_sets[each].ssim:.4f}" for each in sets]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _tensor(picture: np.ndarray) -> torch.Tensor:
    """Convert (H, W, 3) to (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(picture, 2, 0)))[None]
