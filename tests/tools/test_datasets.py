"""The check of test sets finds missing, changed and foreign pictures."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    """Import the tool, with a set of two pictures that it knows."""
    monkeypatch.syspath_prepend(str(TOOLS))
    module = importlib.import_module("datasets")
    pictures = [np.random.default_rng(n).integers(0, 256, (8, 6 + 2 * n, 3), np.uint8) for n in range(2)]
    known = {
        "pictures": 2,
        "where": "Nowhere.",
        "sizes": [list(picture.shape[:2]) for picture in pictures],
        "sha256": [module.digest_of(picture) for picture in pictures],
    }
    monkeypatch.setattr(module, "KNOWN", {"Two": known})
    return module, pictures


def save(folder, **pictures):
    folder.mkdir(exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def test_complete_set_passes_whatever_its_names(tool, tmp_path, capsys):
    module, (first, second) = tool
    uncropped = np.pad(second, ((0, 1), (0, 0), (0, 0)))
    folder = save(tmp_path / "set", img_001=first, baby=uncropped)
    assert module.main(["--check", f"Two={folder}"]) == 0
    assert capsys.readouterr().out == "Two: complete\n"


def test_differences_are_named(tool, tmp_path, capsys):
    module, (first, second) = tool
    folder = save(tmp_path / "set", one=255 - first, two=second[:4], three=second)
    assert module.main(["--check", f"Two={folder}"]) == 1
    told = capsys.readouterr().out
    for message in ("holds 3 pictures, not 2", "one.png has other pixels", "two.png is 8x4, a size that"):
        assert message in told
    assert "a picture of 6x8 is missing" in told
    assert module.main(["--check", f"Two={tmp_path / 'nowhere'}"]) == 1
    assert "no such folder" in capsys.readouterr().out


def test_list_names_every_set(tool, capsys):
    module, _ = tool
    assert module.main([]) == 0
    assert capsys.readouterr().out == "Two: 2 pictures. Nowhere.\n"
