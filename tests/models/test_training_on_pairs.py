"""Trainings on given pairs at scales that are not integers and differ between the axes."""

import math

import numpy as np
import pytest
from PIL import Image
from skimage import data
from tiny_trainings import options as tiny_options
from tiny_trainings import train
from trainings import finish, options, printed, start

PICTURES = {"astronaut": data.astronaut()[40:110, 170:254], "chelsea": data.chelsea()[80:150, 100:184]}


@pytest.fixture
def pairs(tmp_path):
    """Two cameras with pairs at vertical scale 2 and horizontal scale 3.5, and at 2.5."""
    for camera, (height, width) in (("canon", (35, 24)), ("nikon", (28, 34))):
        (tmp_path / camera).mkdir()
        for name, picture in PICTURES.items():
            Image.fromarray(picture).save(tmp_path / camera / f"{name}_HR.png")
            small = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
            small.save(tmp_path / camera / f"{name}_LR.png")
    roots = [str(tmp_path / camera) for camera in ("canon", "nikon")]
    templates = {"filename_tmpl_gt": "{}_HR", "filename_tmpl": "{}_LR"}
    return {"dataroot_gt": roots, "dataroot_lq": roots, **templates}


def test_losses_on_pairs_are_finite_and_fall(pairs, photographs, tmp_path):
    opt = tiny_options(photographs, tmp_path)
    opt["datasets"]["train"].update(pairs)
    _, logs = train(opt, 16)
    losses = [log["l_pix"] for log in logs]
    assert all(map(math.isfinite, losses))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


@pytest.mark.slow
def test_train_command_takes_pairs_in_several_folders(pairs, photographs, tmp_path):
    opt = options(photographs, total_iter=2, warmup_iter=-1)
    opt["datasets"]["train"].update(pairs)
    opt["datasets"]["val_1"].update(pairs)
    del opt["datasets"]["val_1"]["scale"], opt["datasets"]["val_2"]
    opt["val"].update(val_freq=2, save_img=True)
    assert finish(start(tmp_path / "run", opt)) == [0]
    text = printed(tmp_path / "run")
    assert "LR pictures at scale 2 to 2.5 vertically, 2.471 to 3.5 horizontally." in text
    folder = tmp_path / "run/experiments/tiny/visualization"
    saved = {path.relative_to(folder).as_posix() for path in folder.rglob("*_LR_*.png")}
    assert {name for name in saved if "experts" not in name} == {
        f"photographs/{camera}/{name}_LR_2.png" for camera in (1, 2) for name in PICTURES
    }
