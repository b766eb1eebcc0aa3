"""The model of a camera, against each of its steps written out by itself."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("one_camera")


def test_a_flat_grey_picture_stays_as_it_is(tool):
    picture = np.full((9, 14, 3), 120, np.uint8)
    assert np.array_equal(tool.photographed(picture), picture)


def test_each_pixel_of_the_filter_array_keeps_its_own_colour(tool, monkeypatch):
    """Without lens and sharpening, each colour is seen at its own sites, and interpolated between."""
    monkeypatch.setattr(tool, "blurred", lambda picture, sigma: picture)
    rgb = np.random.default_rng(0).integers(0, 256, (7, 10, 3), dtype=np.uint8)
    seen = tool.photographed(rgb)
    for row in range(7):
        for column in range(10):
            own = {(0, 0): 0, (1, 1): 2}.get((row % 2, column % 2), 1)
            assert seen[row, column, own] == rgb[row, column, own]
    light = (rgb[2:5:2, 4, 0] / 255) ** 2.2
    assert seen[3, 4, 0] == round(255 * light.mean() ** (1 / 2.2))  # red between two reds


def test_an_edge_is_sharpened_and_softened(tool, monkeypatch):
    rgb = np.zeros((8, 31, 3), np.uint8) + 60
    rgb[:, 15:] = 190
    row = tool.photographed(rgb)[4].astype(int)
    assert row[0].tolist() == [60, 60, 60]
    assert row[-1].tolist() == [190, 190, 190]
    assert row.min() < 60 - 5  # the halos of the unsharp mask
    assert row.max() > 190 + 5
    monkeypatch.setattr(tool, "AMOUNT", 0)
    green = tool.photographed(rgb)[4, :, 1].astype(int)
    assert (np.diff(green) >= 0).all()
    assert 60 < green[14] < green[15] < 190


def test_the_command_writes_a_folder_and_keeps_an_earlier_one(tool, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (13, 9), (10, 20, 30)).save(tmp_path / "photos/one.webp", lossless=True)
    arguments = [str(tmp_path / "photos"), "-o", str(tmp_path / "out")]
    assert tool.main(arguments) == 0
    assert Image.open(tmp_path / "out/one.png").size == (13, 9)
    assert tool.main(arguments) == 2
    assert capsys.readouterr().err.endswith("out: already exists; choose another -o\n")


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_folders_without_readable_pictures_are_one_line(tool, content, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    if content is not None:
        (tmp_path / "photos/one.png").write_bytes(content)
    assert tool.main([str(tmp_path / "photos"), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
