"""Pictures that need more memory than there is are refused in one line, before they are decoded."""

import numpy as np
import pytest
from PIL import Image, features
from upscale_command import Bicubic, draw, moeisr, refused

from moeisr_plugin.checkpoints.network import network_from


@pytest.fixture(autouse=True)
def upscaler(monkeypatch):
    monkeypatch.setattr("moeisr_plugin.upscaler.Upscaler", Bicubic)
    monkeypatch.setattr(Bicubic, "net", network_from("tiny_MoEISR_LIIF_s"))


@pytest.fixture
def memory(monkeypatch):
    """A function that sets the available memory in bytes."""
    return lambda size: monkeypatch.setattr("moeisr_plugin.commands.memory.available_memory", lambda: size)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "avif", "bmp", "gif"])
def test_bombs_of_all_formats_are_refused_before_decoding(suffix, tmp_path, memory, capsys, monkeypatch):
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow does not write AVIF")
    path = tmp_path / f"bomb.{suffix}"
    Image.new("L" if suffix != "webp" else "RGB", (1501, 1300)).save(path)
    monkeypatch.setattr(
        "moeisr_plugin.commands.streams.decode_picture", lambda *_, **__: pytest.fail("decoded")
    )
    memory(300 * 10**6)
    line = refused(capsys, path, "--scale", 2)
    assert line.startswith(f"moeisr upscale: {path}: 1501x1300 pixels need about ")
    assert "of memory, but 300 MB are available; add --precision bfloat16, enlarge parts of it" in line
    memory(10 * 10**6)
    assert "--precision" not in refused(capsys, path, "--scale", 2)


def test_the_share_of_the_output_is_estimated_before_encoding(tmp_path, memory, capsys, monkeypatch):
    photo = draw(tmp_path / "photo.png", 30, 21)
    monkeypatch.setattr(Bicubic, "encode", lambda *_: pytest.fail("encoded"))
    memory(300 * 10**6)
    line = refused(capsys, photo, "--scale", 500)
    assert "photo.png: 30x21 to 15000x10500 pixels need about" in line
    assert "choose a smaller output" in line
    memory(150 * 10**6)
    line = refused(capsys, photo, "--scale", 200, "--format", "webp")
    assert "choose a smaller output, choose .png or .tiff" in line


def test_alpha_counts_unless_it_is_opaque(tmp_path, memory, capsys):
    pixels = np.full((600, 500, 4), 255, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "opaque.png")
    pixels[0, 0, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    memory(200 * 10**6)
    assert moeisr(tmp_path / "opaque.png", "--scale", 1, "-q") == 0
    assert "500x600 to 500x600 pixels need about" in refused(capsys, tmp_path / "clear.png", "--scale", 1)


def test_a_picture_that_fits_is_enlarged(tmp_path, memory):
    photo = draw(tmp_path / "photo.png", 30, 21)
    memory(20 * 10**6)
    assert moeisr(photo, "--scale", 2) == 0
    memory(None)  # unknown
    assert moeisr(photo, "--scale", 3) == 0


def test_memory_of_a_gpu_is_not_compared_with_that_of_the_host(tmp_path, memory, monkeypatch):
    photo = draw(tmp_path / "photo.png", 30, 21)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    memory(10**6)
    assert moeisr(photo, "--scale", 2, "--device", "cuda") == 0


def test_one_bomb_does_not_stop_the_others(tmp_path, memory, capsys):
    (tmp_path / "in").mkdir()
    Image.new("L", (1501, 1300)).save(tmp_path / "in/bomb.png")
    draw(tmp_path / "in/photo.png", 30, 21)
    memory(100 * 10**6)
    assert moeisr(tmp_path / "in", "--scale", 2, "-o", tmp_path / "out") == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_x2.png"]
    assert "bomb.png: 1501x1300 pixels need about" in capsys.readouterr().err
