"""`moeisr upscale` on the options that concern formats: files without their end, and hidden colour."""

import numpy as np
import pytest
from PIL import Image

from moeisr_plugin.cli import main
from moeisr_plugin.pictures import read_picture


class Twice:
    """Stand-in for `Upscaler` and `EncodedPicture` that repeats every pixel."""

    layers = 1
    net = None
    device = None
    precision = "float32"
    options: dict

    def __init__(self, *arguments, **options):
        type(self).options = options
        self.image = np.empty(0)

    def encode(self, image):
        self.image = image
        return self

    def render_bands(self, *, size):
        yield self.image.repeat(2, axis=0).repeat(2, axis=1)


@pytest.fixture(autouse=True)
def _twice(monkeypatch):
    monkeypatch.setattr("moeisr_plugin.upscaler.Upscaler", Twice)
    monkeypatch.setattr("moeisr_plugin.commands.memory._of_network", lambda *_: (0, 0))


def moeisr(*arguments):
    return main(["upscale", "--scale", "2", *map(str, arguments)])


def test_a_truncated_picture_is_enlarged_only_on_request(tmp_path, capsys):
    path = tmp_path / "cut.jpg"
    Image.linear_gradient("L").convert("RGB").save(path, quality=95)
    path.write_bytes(path.read_bytes()[:-700])
    assert moeisr(path) == 2
    error = capsys.readouterr().err.splitlines()
    assert error == [
        f"moeisr upscale: {path}: is damaged or incomplete (it lacks its end, which "
        "--accept-truncated of moeisr upscale fills); copy or export it again"
    ]
    assert moeisr(path, "--accept-truncated") == 0
    note = capsys.readouterr().err.splitlines()
    assert note[:-1] == [f"moeisr upscale: {path}: lacks its end; the missing part is filled"]
    enlarged = read_picture(tmp_path / "cut_x2.png").pixels
    assert np.abs(enlarged[:200:2, ::2].astype(int) - np.arange(100)[:, None, None]).max() <= 3


@pytest.mark.parametrize("option", [[], ["--keep-hidden-colour"]])
def test_hidden_colour_is_an_option_of_the_upscaler(tmp_path, option):
    Image.new("RGBA", (4, 5), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert moeisr(tmp_path / "a.png", *option) == 0
    assert Twice.options["keep_hidden_colour"] == bool(option)


@pytest.mark.parametrize(
    ("suffix", "note"),
    [
        ("bmp", "has EXIF and XMP, which BMP does not hold; png, tiff, jpg, webp and avif do"),
        ("jpg", "has XMP that is too long for JPEG; png, tiff, webp and avif hold it"),
        ("webp", None),
    ],
)
def test_metadata_that_a_format_cannot_hold_are_noted(suffix, note, tmp_path, capsys):
    path = tmp_path / "a.webp"
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    xmp = b"<x:xmpmeta>" + b"x" * 70_000
    Image.linear_gradient("L").convert("RGB").save(path, exif=exif, xmp=xmp)
    assert moeisr(path, "-f", suffix) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("moeisr")]
    assert notes == ([] if note is None else [f"moeisr upscale: {path}: {note}"])


def test_an_orientation_alone_is_not_noted(tmp_path, capsys):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.linear_gradient("L").convert("RGB").save(path, exif=exif)
    assert moeisr(path, "-f", "bmp") == 0
    assert "EXIF" not in capsys.readouterr().err
