"""Pictures and options that a benchmark folder gives at a scale."""

import numpy as np
import pytest
from picture_files import noise, write_folder

from moeisr_plugin.data import ScaleValidationDataset
from moeisr_plugin.data.benchmark_layouts import benchmark_options

HR = noise(24, 36)
LR = noise(12, 18, seed=1)
LAYOUTS = {
    "by scale": ("x2/HR/baby.png", "x2/LR/baby.png"),
    "BasicSR": ("GTmod12/baby.png", "LRbicx2/baby.png"),
    "EDSR": ("HR/baby.png", "LR_bicubic/X2/babyx2.png"),
}


def lr_of(options):
    sample = ScaleValidationDataset(options)[0]
    return (sample["lq"] * 255).round().byte().permute(1, 2, 0).numpy()


@pytest.fixture(params=list(LAYOUTS.values()), ids=list(LAYOUTS))
def benchmark(request, tmp_path):
    hr, lr = request.param
    write_folder(tmp_path, {hr: HR, lr: LR})
    return tmp_path


@pytest.mark.parametrize("lr", ["auto", "given"])
def test_given_lr_is_found(benchmark, lr):
    np.testing.assert_array_equal(lr_of(benchmark_options(benchmark, (2, 2), lr)), LR)


@pytest.mark.parametrize(
    ("scale", "lr", "made"),
    [
        ((2.0, 2.0), "matlab", "matlab"),
        ((2, 2), "pil", "pil"),
        ((3, 3), "auto", "matlab"),
        ((3, 2), "auto", "pil"),
        ((6, 6), "auto", "pil"),
        ((2.5, 2.5), "auto", "pil"),
    ],
)
def test_lr_is_downsampled_if_missing_or_requested(benchmark, scale, lr, made):
    options = benchmark_options(benchmark, scale, lr)
    assert options["downsample"] == made
    assert "dataroot_lq" not in options
    np.testing.assert_array_equal(
        ScaleValidationDataset(options)[0]["gt"].mul(255).round().permute(1, 2, 0),
        HR[: round(24 // scale[0] * scale[0]), : round(36 // scale[1] * scale[1])],
    )


def test_missing_lr_is_refused(benchmark):
    with pytest.raises(ValueError, match="no LR of vertical scale 3 and horizontal scale 3"):
        benchmark_options(benchmark, (3, 3), "given")


def test_scale_without_hr_uses_the_hr_of_the_smallest_scale(tmp_path):
    write_folder(tmp_path, {f"x{n}/HR/baby.png": noise(8 * n, 8 * n) for n in (10, 4, 3)})
    assert benchmark_options(tmp_path, (6, 6))["dataroot_gt"] == str(tmp_path / "x3/HR")
    assert benchmark_options(tmp_path, (4, 4))["dataroot_gt"] == str(tmp_path / "x4/HR")


def test_scale_without_lr_uses_uncropped_hr(tmp_path):
    write_folder(tmp_path, {f"{name}/baby.png": HR for name in ("GTmod12", "LRbicx2", "original")})
    for lr in ("auto", "pil"):
        assert benchmark_options(tmp_path, (6, 6), lr)["dataroot_gt"] == str(tmp_path / "original")
        assert benchmark_options(tmp_path, (2, 2), lr)["dataroot_gt"] == str(tmp_path / "GTmod12")


def test_plain_folder_of_pictures_is_hr(tmp_path):
    write_folder(tmp_path, {"baby.png": HR})
    assert benchmark_options(tmp_path, (4, 4)) == {
        "dataroot_gt": str(tmp_path),
        "scale": (4, 4),
        "downsample": "matlab",
    }


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        benchmark_options(tmp_path / "nowhere", (2, 2))
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match="no pictures here or in x2/HR, GTmod12, HR; name a folder"):
        benchmark_options(tmp_path, (2, 2))
