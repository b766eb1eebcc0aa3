"""Validation samples, compared with the published protocol recomputed by Pillow and the toolbox."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.utils.matlab_functions import imresize
from picture_files import cut_off, noise, write_folder, write_lmdb
from PIL import Image

from moeisr_plugin.data import ScaleValidationDataset

HR = [noise(31, 45), noise(40, 37, seed=1)]


@pytest.fixture
def hr_root(tmp_path):
    return write_folder(tmp_path / "hr", {f"{i}.png": picture for i, picture in enumerate(HR)})


def hwc(tensor):
    return tensor.permute(1, 2, 0).numpy()


def unit(picture):
    return picture / np.float32(np.iinfo(picture.dtype).max)


@pytest.mark.parametrize("scale", [2, 3.7, 1, 12, [2, 3.5], [1.3, 2.0]])
def test_hr_only_follows_the_published_protocol(hr_root, scale):
    dataset = ScaleValidationDataset({"dataroot_gt": hr_root, "scale": scale})
    scale_y, scale_x = scale if isinstance(scale, list) else (scale, scale)
    assert len(dataset) == 2
    for index, picture in enumerate(HR):
        h, w = math.floor(picture.shape[0] / scale_y + 1e-9), math.floor(picture.shape[1] / scale_x + 1e-9)
        hr = picture[: round(h * scale_y), : round(w * scale_x)]
        sample = dataset[index]
        np.testing.assert_array_equal(hwc(sample["gt"]), unit(hr))
        lr = np.asarray(Image.fromarray(hr).resize((w, h), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(hwc(sample["lq"]), unit(lr))
        assert sample["scale"].tolist() == [scale_y, scale_x]
        assert sample["lq_path"] == sample["gt_path"] == str(Path(hr_root, f"{index}.png"))


def test_matlab_downsampling_differs_from_the_toolbox_only_in_edges_and_rounding(hr_root):
    dataset = ScaleValidationDataset({"dataroot_gt": hr_root, "scale": 3, "downsample": "matlab"})
    expected = imresize(unit(HR[0][:30, :45]), 1 / 3).clip(0, 1) * 255
    lr = hwc(dataset[0]["lq"]) * 255
    assert lr.shape == (10, 15, 3)
    np.testing.assert_allclose(lr, np.rint(lr), atol=1e-4)
    assert np.abs(lr - expected)[2:-2, 2:-2].max() < 1.5
    by_pil = ScaleValidationDataset({"dataroot_gt": hr_root, "scale": 3})[0]["lq"]
    assert not torch.equal(by_pil, dataset[0]["lq"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pairs_are_returned_unchanged(tmp_path, dtype):
    hr, lr = noise(26, 38, dtype=dtype), noise(8, 12, channels=1, dtype=dtype)
    opt = {
        "dataroot_gt": write_folder(tmp_path / "hr", {"a.png": hr}),
        "dataroot_lq": write_folder(tmp_path / "lr", {"ax3.png": lr}),
        "filename_tmpl": "{}x3",
    }
    for scale in ({}, {"scale": 3}):
        sample = ScaleValidationDataset({**opt, **scale})[0]
        np.testing.assert_array_equal(hwc(sample["gt"]), unit(hr[:24, :36]))
        np.testing.assert_array_equal(hwc(sample["lq"]), unit(lr)[..., [0, 0, 0]])
        assert sample["scale"].tolist() == [3, 3]
        assert [Path(sample[key]).stem for key in ("gt_path", "lq_path")] == ["a", "ax3"]
    with pytest.raises(ValueError, match=r"ax3\.png: 26 HR pixels are 3\.25 times 8 LR pixels, not 2 times"):
        ScaleValidationDataset({**opt, "scale": 2})


def test_lr_only_needs_a_scale(tmp_path):
    lr = noise(9, 7)
    opt = {"dataroot_lq": write_folder(tmp_path, {"a.png": lr})}
    sample = ScaleValidationDataset({**opt, "scale": 2.5})[0]
    np.testing.assert_array_equal(hwc(sample["lq"]), unit(lr))
    assert sample.keys() == {"lq", "lq_path", "name", "scale"}
    with pytest.raises(ValueError, match="scale is missing"):
        ScaleValidationDataset(opt)


def test_invalid_options_and_small_pictures_are_refused(hr_root):
    with pytest.raises(ValueError, match="downsample is 'lanczos'; give one of pil, matlab"):
        ScaleValidationDataset({"dataroot_gt": hr_root, "scale": 2, "downsample": "lanczos"})
    with pytest.raises(ValueError, match=r"0\.png: 31 HR pixels are too few for scale 32"):
        ScaleValidationDataset({"dataroot_gt": hr_root, "scale": [32, 2]})


def test_folder_lmdb_and_memory_agree(hr_root, tmp_path):
    database = write_lmdb(tmp_path / "hr.lmdb", {str(i): picture for i, picture in enumerate(HR)})
    reference = ScaleValidationDataset({"dataroot_gt": hr_root, "scale": 2.3})
    for opt in (
        {"dataroot_gt": hr_root, "cache": "memory"},
        {"dataroot_gt": database, "io_backend": {"type": "lmdb"}},
        {"dataroot_gt": database, "io_backend": {"type": "lmdb"}, "cache": "memory"},
    ):
        dataset = ScaleValidationDataset({**opt, "scale": 2.3})
        for index in range(2):
            assert torch.equal(dataset[index]["lq"], reference[index]["lq"])
            assert torch.equal(dataset[index]["gt"], reference[index]["gt"])
            assert Path(dataset[index]["lq_path"]).name == f"{index}.png"


def test_loader_of_the_toolbox_keeps_scale_and_names(hr_root):
    opt = {
        "type": "ScaleValidationDataset",
        "name": "Set2",
        "phase": "val",
        "dataroot_gt": hr_root,
        "first_k": 1,
    }
    dataset = build_dataset({**opt, "scale": [2, 3.7]})
    assert dataset.opt["name"] == "Set2"
    (batch,) = build_dataloader(dataset, {**opt, "scale": [2, 3.7]}, num_gpu=0)
    assert batch["scale"].dtype == torch.float64
    assert batch["scale"].tolist() == [[2, 3.7]]
    assert batch["lq"].shape == (1, 3, 15, 12)
    assert batch["gt"].shape == (1, 3, 30, 44)
    assert Path(batch["lq_path"][0]).name == "0.png"


def test_damaged_picture_is_skipped_at_the_start(hr_root):
    cut_off(Path(hr_root, "0.png"))
    with pytest.raises(ValueError, match=r"0\.png: is damaged"):
        ScaleValidationDataset({"dataroot_gt": hr_root, "scale": 2})[0]
    dataset = ScaleValidationDataset({"dataroot_gt": hr_root, "scale": 2, "skip_bad_pictures": True})
    assert [dataset[index]["gt_path"] for index in range(len(dataset))] == [str(Path(hr_root, "1.png"))]
