"""Published bicubic figures, measured on the benchmarks if the variable MOEISR_DATA names their folder."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moeisr_plugin.data.resampling import Size, downsample
from moeisr_plugin.evaluation.evaluate import evaluate

BENCHMARKS = Path(os.environ.get("MOEISR_DATA", ""), "benchmark")
SET5 = BENCHMARKS / "Set5"
BICUBIC = {2: 33.66, 3: 30.39, 4: 28.42}

pytestmark = pytest.mark.skipif(not SET5.is_dir(), reason="MOEISR_DATA is not a folder with benchmark/Set5")


@pytest.mark.parametrize("lr", ["given", "matlab"])
@pytest.mark.parametrize("scale", BICUBIC)
def test_bicubic_on_set5_matches_the_published_psnr(scale, lr):
    records = evaluate([], SET5, [(scale, scale)], protocol="benchmark", lr=lr, progress=False).records
    assert len(records) == 5
    mean = np.mean([record.figures["psnr"] for record in records])
    assert mean == pytest.approx(BICUBIC[scale], abs=0.03)


@pytest.mark.parametrize("scale", BICUBIC)
def test_downsampled_lr_matches_the_given_lr(scale):
    folder = SET5 / f"x{scale}"
    for path in sorted((folder / "HR").iterdir()):
        hr, lr = (np.asarray(Image.open(folder / kind / path.name).convert("RGB")) for kind in ("HR", "LR"))
        made = downsample(hr, Size(*lr.shape[:2]), "matlab")
        mse = np.mean((made.astype(np.float64) - lr / 255) ** 2)
        assert mse == 0 or -10 * np.log10(mse) >= 55
