"""`moeisr upscale --window`: the part, its size, its name, and what is refused."""

import argparse

import numpy as np
import pytest
import torch
from PIL import Image
from upscale_command import draw, moeisr, refused, size_of

from moeisr_plugin.archs.implicit_arch import MoEISRLIIF
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.commands.own_outputs import own_outputs
from moeisr_plugin.commands.windows import parse_window
from moeisr_plugin.pictures import read_picture, upright


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    net = MoEISRLIIF(encoder={"type": "EDSREncoder", "num_feat": 8, "num_block": 1}, hidden_dim=8)
    path = tmp_path_factory.mktemp("weights") / "net.pth"
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [3, 4])
def test_a_window_is_the_displayed_part_of_the_whole(tmp_path, weights, orientation, channels):
    source = draw(tmp_path / "a.png", 12, 10, channels=channels, orientation=orientation)
    options = (source, "-n", weights, "-q", "--expert-map")
    assert moeisr(*options, "-s", 3) == 0
    assert moeisr(*options, "-s", 3, "--window", "2,1,9,7") == 0
    images = []
    for stem in ("a_x3", "a_x3_window2,1,9,7"):
        picture = read_picture(tmp_path / f"{stem}.png")
        assert picture.orientation == orientation
        images.append(upright(picture.pixels, orientation).astype(int))
    assert np.abs(images[1] - images[0][6:27, 3:21]).max() <= 1
    maps = [read_picture(tmp_path / f"{stem}_experts.png").pixels for stem in ("a_x3", "a_x3_window2,1,9,7")]
    np.testing.assert_array_equal(maps[1], maps[0][2:9, 1:7])


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (("--size", "31x17"), (31, 17)),
        (("--size", "5x"), (5, 5)),
        (("--long-side", "3"), (3, 3)),
        (("-s", "0.5"), (3, 3)),
        (("-s", "0.01"), (1, 1)),
        (("-s", "2.5x0.5"), (16, 3)),
        (("-s", "2", "--budget", "20000mac"), (13, 13)),
        (("-s", "0.5", "--budget", "20000mac"), (3, 3)),
        (("-s", "2", "--precision", "bfloat16", "-f", "webp"), (13, 13)),
    ],
)
def test_sizes_are_those_of_the_window(tmp_path, weights, arguments, size):
    source = draw(tmp_path / "a.png")
    assert moeisr(source, "-n", weights, *arguments, "--window", "1.5,2,8,8.5") == 0
    (out,) = tmp_path.glob("a_*_window1.5,2,8,8.5.*")
    assert size_of(out) == size


def test_dry_run_estimates_the_window(tmp_path, weights, capsys):
    source = draw(tmp_path / "a.png")
    assert moeisr(source, "-n", weights, "-s", "0.4", "--window", "1,2,8,8.5", "--dry-run") == 0
    assert "a_x0.4_window1,2,8,8.5.png 3x3, about" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("1,2,3", "'1,2,3' is not a window; give TOP,LEFT,BOTTOM,RIGHT in pixels, as in 10,20,40.5,60"),
        ("a,b,c,d", "is not a window; give TOP,LEFT,BOTTOM,RIGHT"),
        ("nan,0,1,1", "is not a window"),
        ("0,0,inf,1", "is not a window"),
        ("5,0,5,1", "is empty; give TOP,LEFT,BOTTOM,RIGHT in pixels, as in 10,20,40.5,60, with BOTTOM > TOP"),
        ("5,3,6,1", "is empty"),
        ("0,0,11,1", "photo.png: window 0,0,11,1 reaches beyond the picture; give edges between 0 and 10"),
        ("0,11,1,12.5", "reaches beyond the picture; give edges between 0 and 10 for top and bottom, and"),
    ],
)
def test_wrong_windows_give_one_line(photo, upscaler, capsys, window, message):
    assert message in refused(capsys, photo, "-s", 2, "--window", window)
    assert list(photo.parent.iterdir()) == [photo]


def test_negative_windows_are_refused(photo, upscaler, capsys):
    assert "begins outside of the picture" in refused(capsys, photo, "-s", 2, "--window=-1,0,1,1")


def test_a_scale_below_1_without_a_window_names_it(photo, upscaler, capsys):
    assert "give scales of at least 1, or add --window to reduce a part" in refused(capsys, photo, "-s", 0.5)


def test_too_large_a_window_is_refused(photo, weights, capsys):
    line = refused(
        capsys,
        photo,
        "-n",
        weights,
        "--size",
        "300x300",
        "-f",
        "jpg",
        "--window",
        "0,0,2,2",
        "--max-pixels",
        999,
    )
    assert "a window of 2x2 would be 300x300, more than 999 pixels; choose a smaller output" in line


def test_windows_of_earlier_runs_are_left_out(tmp_path, weights):
    (tmp_path / "in").mkdir()
    draw(tmp_path / "in/a.png", orientation=6)
    options = (tmp_path / "in", "-n", weights, "-o", tmp_path / "in", "-q", "--expert-map")
    for arguments in (("-s", 2), ("-s", 0.5), ("--size", "31x17")):
        assert moeisr(*options, *arguments, "--window", "1.5,2,8,8.5") == 0
    written = sorted(tmp_path.glob("in/*_*"))
    assert len(written) == 6
    Image.new("RGB", (3, 4)).save(tmp_path / "in/a_x7_window1,2,8,8.png")  # has another size: a picture
    Image.new("RGB", (3, 4)).save(tmp_path / "in/a_x7_windows.png")
    assert sorted(own_outputs(sorted(tmp_path.glob("in/*")), tmp_path / "in")) == written


def test_windows_print_as_they_are_given():
    assert str(parse_window("1, 2.5,3,4")) == "1,2.5,3,4"
    with pytest.raises(argparse.ArgumentTypeError):
        parse_window("")
