"""Validation: measured pictures, metrics and saved pictures."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.models import build_model
from picture_files import noise
from PIL import Image
from tiny_trainings import loader, options, train

from moeisr_plugin import render
from moeisr_plugin.models.validation import dataset_label


def test_validates_at_several_scales_and_keeps_the_best(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    model, _ = train(opt, 1)
    for phase in ("val_0", "val_1", "val_2"):
        model.validation(loader(opt, phase), 1, None, save_img=True)
    assert set(model.best_metric_results) == {f"photographs/{scale}" for scale in ("x2", "x3.7", "x2x3.5")}
    assert model.net_g.training
    best = dict(model.best_metric_results["photographs/x2x3.5"]["psnr"])
    with torch.no_grad():
        for parameter in model.net_g_ema.parameters():
            parameter.mul_(3)
    model.validation(loader(opt, "val_2"), 2, None, save_img=False)
    assert model.metric_results["psnr"] < best["val"]
    assert model.best_metric_results["photographs/x2x3.5"]["psnr"] == best


def test_pictures_too_small_for_a_metric_are_named_and_skipped(photographs, tmp_path, caplog):
    folder = shutil.copytree(photographs, tmp_path / "pictures")
    Image.fromarray(np.zeros((15, 40, 3), np.uint8)).save(folder / "small.png")
    opt = options(folder, tmp_path)
    opt["val"]["metrics"]["ssim"] = {"type": "calculate_ssim_protocol", "better": "higher"}
    model = build_model(opt)
    with caplog.at_level("WARNING", "basicsr"):
        model.validation(loader(opt, "val_1"), 1, None, save_img=False)
    expected = "small.png: SSIM needs 11x11 pixels; protocol benchmark leaves 7x29"
    assert [message.rpartition("/")[2] for message in caplog.messages] == [expected]
    measured = dict(model.metric_results)
    (folder / "small.png").unlink()
    model.validation(loader(opt, "val_1"), 1, None, save_img=False)
    assert model.metric_results == measured


def test_validation_disables_the_autotuning_of_cudnn(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    opt = options(photographs, tmp_path)
    model, seen = build_model(opt), []
    model.net_g_ema.register_forward_pre_hook(lambda *_: seen.append(None))
    model.net_g_ema.encoder.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.benchmark))
    model.validation(loader(opt, "val_0"), 1, None, save_img=False)
    assert set(seen) == {False}
    assert torch.backends.cudnn.benchmark


def test_validates_without_metrics(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    opt["val"] = {}
    model, _ = train(opt, 1)
    model.validation(loader(opt, "val_0"), 1, None, save_img=True)
    assert len(list((tmp_path / "visualization" / "photographs" / "x2").iterdir())) == 4


def test_lr_only_is_enlarged(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    model, _ = train(opt, 1)
    lr_only = opt["datasets"]["val_1"]
    lr_only["dataroot_lq"] = lr_only.pop("dataroot_gt")
    model.validation(loader(opt, "val_1"), 1, None, save_img=True)
    enlarged = Image.open(tmp_path / "visualization" / "photographs" / "x3.7" / "chelsea_1.png")
    assert enlarged.size == (round(97 * 3.7), round(111 * 3.7))


def test_saved_pictures_keep_their_relative_paths(tmp_path):
    folder = tmp_path / "hr"
    for name in ("a/same", "b/same", os.fsdecode(b"b/caf\xe9")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(24, 24)).save(folder / "picture.png")
        (folder / "picture.png").rename(folder / f"{name}.png")
    opt = options(folder, tmp_path)
    for dataset in opt["datasets"].values():
        dataset["recursive"] = True
    model, _ = train(opt, 1)
    model.validation(loader(opt, "val_0"), 3, None, save_img=True)
    saved = tmp_path / "visualization" / "photographs" / "x2"
    found = {path.relative_to(saved) for path in saved.rglob("*_3.png")}
    assert found == {
        Path(os.fsdecode(name)) for name in (b"a/same_3.png", b"b/same_3.png", b"b/caf\xe9_3.png")
    }


def test_saved_pictures_equal_the_rendered_ones(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    model, _ = train(opt, 1)
    batches = loader(opt, "val_1")
    model.validation(batches, 7, None, save_img=True)
    folder = tmp_path / "visualization" / "photographs" / "x3.7"
    names = ["astronaut_7.png", "astronaut_7_experts.png", "chelsea_7.png", "chelsea_7_experts.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    sample = next(iter(batches))
    encoding = render.encode(model.net_g_ema, sample["lq"])
    expected = render.render(model.net_g_ema, encoding, tuple(sample["gt"].shape[2:]))
    written = np.asarray(Image.open(folder / "astronaut_7.png"))
    assert written.shape == tuple(sample["gt"].shape[i] for i in (2, 3, 1))
    np.testing.assert_array_equal(written, expected[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy())
    colours = np.asarray(Image.open(folder / "astronaut_7_experts.png"))
    chosen = render.expert_map(encoding)[0]
    np.testing.assert_array_equal(colours, render.colour_experts(chosen, 4).numpy())


@pytest.mark.parametrize(
    ("scale", "label"), [(None, "Set5"), (2, "Set5/x2"), (3.7, "Set5/x3.7"), ([2, 3.5], "Set5/x2x3.5")]
)
def test_label_has_data_set_and_scale(scale, label):
    assert dataset_label({"name": "Set5", "scale": scale}) == label
