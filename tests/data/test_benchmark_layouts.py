"""Pictures and options that a benchmark folder gives at a scale."""

import numpy as np
import pytest
from picture_files import noise, write_folder

from moeisr_plugin.data import ScaleValidationDataset
from moeisr_plugin.data.benchmark_layouts import benchmark_options, unused_lr

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


# --- any scale ---

SCALES = {
    "ArbSR, both axes": ("HR/a.png", "LR_bicubic/X1.60/a.png", (1.6, 1.6)),
    "ArbSR, per axis": ("HR/a.png", "LR_bicubic/X1.60_X2.00/a.png", (1.6, 2)),
    "per axis, horizontal first": ("HR/a.png", "LR_bicubic/X2.00_X1.60/a.png", (1.6, 2)),
    "names with the scale": ("HR/a.png", "LR_bicubic/X1.60/ax1.60.png", (1.6, 1.6)),
    "by scale": ("x2.5/HR/a.png", "x2.5/LR/a.png", (2.5, 2.5)),
    "by scale, two digits": ("x2.50/HR/a.png", "x2.50/LR/a.png", (2.5, 2.5)),
    "by scale per axis, as in the outputs here": ("x3.5x2/HR/a.png", "x3.5x2/LR/a.png", (2, 3.5)),
    "BasicSR": ("GTmod12/a.png", "LRbicx2.5/a.png", (2.5, 2.5)),
    "flat": ("HR/a.png", "LR/a.png", (3.2, 3.2)),
    "flat per axis": ("HR/a.png", "LR/a.png", (2, 3.5)),
    "flat with replaced names": ("HR/a_HR.png", "LR/a_LR4.png", (4, 4)),
    "one third": ("HR/a.png", "LR_bicubic/X3.33/a.png", (10 / 3, 10 / 3)),
}


@pytest.mark.parametrize("lr", ["auto", "given"])
@pytest.mark.parametrize("case", SCALES)
def test_given_lr_is_found_at_any_scale(tmp_path, case, lr):
    hr_name, lr_name, scale = SCALES[case]
    small = noise(20, 20, seed=3)
    write_folder(tmp_path, {hr_name: noise(*(round(20 * s) for s in scale)), lr_name: small})
    options = benchmark_options(tmp_path, scale, lr)
    np.testing.assert_array_equal(lr_of(options), small)
    assert ScaleValidationDataset(options)[0]["scale"].tolist() == list(scale)
    assert unused_lr(tmp_path, scale, lr, options) is None


def test_hr_that_arbsr_crops_further_fits(tmp_path):
    """ArbSR crops HR to 5 LR pixels at 1.6 and 10 at 3.7, from the top left."""
    write_folder(
        tmp_path,
        {"HR/a.png": noise(103, 71), "LR_bicubic/X1.60_X3.70/a.png": noise(60, 10)},
    )
    sample = ScaleValidationDataset(benchmark_options(tmp_path, (1.6, 3.7)))[0]
    assert sample["gt"].shape == (3, 96, 37)
    np.testing.assert_array_equal(
        (sample["gt"] * 255).round().byte().permute(1, 2, 0).numpy(), noise(103, 71)[:96, :37]
    )


NOT_USED = {
    "another scale": ({"x2/LR/a.png": (20, 20), "x2/HR/a.png": (40, 40)}, "auto", "x2/LR (scale 2)"),
    "flat": ({"HR/a.png": (40, 40), "LR/a.png": (10, 10)}, "auto", "LR (scale 4)"),
    "on demand": (
        {"HR/a.png": (60, 60), "LR_bicubic/X3/a.png": (20, 20)},
        "pil",
        "LR_bicubic/X3 (as --downsample pil asks)",
    ),
    "another layout": (
        {"HR/a.png": (60, 60), "LR_unknown/X3/a.png": (20, 20)},
        "auto",
        "LR_unknown/X3 (no known layout; name it by --lr-folder)",
    ),
    "the other axis": (
        {"HR/a.png": (60, 40), "LR_bicubic/X2.00_X3.00/a.png": (20, 20)},
        "auto",
        "LR_bicubic/X2.00_X3.00 (scale 3 by 2)",
    ),
}


@pytest.mark.parametrize("case", NOT_USED)
def test_given_lr_that_is_not_used_is_named_with_the_reason(tmp_path, case):
    pictures, lr, reason = NOT_USED[case]
    write_folder(tmp_path, {name: noise(*size) for name, size in pictures.items()})
    scale = (2, 3) if case == "the other axis" else (3, 3)
    options = benchmark_options(tmp_path, scale, lr)
    made = options["downsample"]
    label = "3x2" if case == "the other axis" else "3"
    assert (
        unused_lr(tmp_path, scale, lr, options) == f"LR at ×{label} is made here ({made}), without {reason}."
    )


def test_nothing_is_said_where_no_lr_lies(tmp_path):
    write_folder(tmp_path, {"a.png": HR})
    assert unused_lr(tmp_path, (2, 2), "auto", benchmark_options(tmp_path, (2, 2))) is None


def test_given_lr_without_all_partners_is_refused(tmp_path):
    write_folder(tmp_path, {f"HR/{name}.png": noise(40, 40) for name in "ab"})
    write_folder(tmp_path, {"LR_bicubic/X2/a.png": noise(20, 20)})
    with pytest.raises(ValueError, match=r"X2: has no picture 'b', the LR of .*HR/b\.png"):
        ScaleValidationDataset(benchmark_options(tmp_path, (2, 2)))


@pytest.mark.parametrize("folder", ["elsewhere/x2.5", "elsewhere"])
def test_a_folder_of_lr_is_taken_at_its_scale(tmp_path, folder):
    write_folder(tmp_path, {"set/HR/a.png": noise(50, 60), "elsewhere/x2.5/a_bic.png": noise(20, 24, seed=2)})
    options = benchmark_options(tmp_path / "set", (2.5, 2.5), lr_folder=tmp_path / folder)
    np.testing.assert_array_equal(lr_of(options), noise(20, 24, seed=2))


def test_unsuitable_folders_of_lr_are_refused(tmp_path):
    write_folder(tmp_path, {"set/a.png": noise(50, 60), "x2.5/a.png": noise(20, 24)})
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("nowhere", "nowhere: no such folder; name a folder of LR pictures"),
        ("empty", "empty: holds neither pictures nor a folder x2; name the folder"),
    ):
        with pytest.raises(ValueError, match=message):
            benchmark_options(tmp_path / "set", (2, 2), lr_folder=tmp_path / name)
    options = benchmark_options(tmp_path / "set", (2, 2), lr_folder=tmp_path / "x2.5")
    with pytest.raises(
        ValueError, match=r"x2\.5/a\.png: 50 HR pixels are 2\.5 times 20 LR pixels, not 2 times"
    ):
        ScaleValidationDataset(options)
