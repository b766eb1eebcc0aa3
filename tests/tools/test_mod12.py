"""Test sets in BasicSR's layout: cropped from the top left, with the LR that `imresize` makes."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from basicsr.utils.matlab_functions import imresize
from picture_files import noise, write_folder
from PIL import Image

from moeisr_plugin.data.scaled_set import ScaledSet

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("mod12")


def test_set_is_cropped_and_found_by_evaluate(tool, tmp_path):
    hr = noise(65, 83)
    folder = write_folder(tmp_path / "HR", {"a.png": hr, "grey.bmp": noise(40, 40, channels=1)})
    assert tool.main([folder, "-o", str(tmp_path / "Set2")]) == 0
    for scale in (2, 3, 4):
        test_set = ScaledSet(tmp_path / "Set2", (scale, scale), "auto")
        assert (test_set.lr, test_set.name, len(test_set)) == ("given", "Set2", 2)
        sample = test_set[0]
        assert sample.size == (60, 72)
        np.testing.assert_array_equal((sample.hr[0] * 255).round().permute(1, 2, 0), hr[:60, :72])
        expected = imresize(hr[:60, :72] / 255, 1 / scale).clip(0, 1)
        inside = (slice(3, -3), slice(3, -3))  # `imresize` of the toolbox mirrors the edges
        lr = sample.lr[0].permute(1, 2, 0).numpy()
        assert np.abs(lr[inside] - expected[inside]).max() < 1.5 / 255


def test_unsuitable_pictures_and_existing_folders_are_refused(tool, tmp_path, capsys):
    small = write_folder(tmp_path / "small", {"a.png": noise(11, 40)})
    deep = write_folder(tmp_path / "deep", {"a.png": noise(24, 24, dtype=np.uint16)})
    for folder, out, message in (
        (small, "out", "a.png: needs 8 bits and at least 12x12 pixels; leave it out"),
        (deep, "out", "a.png: needs 8 bits"),
        (small, "small", "small: already exists; choose another -o"),
    ):
        with pytest.raises(SystemExit):
            tool.main([folder, "-o", str(tmp_path / out)])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert Image.open(Path(small, "a.png")).size == (40, 11)
