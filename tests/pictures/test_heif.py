"""AVIF and HEIC: colours and crops that Pillow would lose are refused, and HEIC without its package."""

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image, features

from moeisr_plugin.pictures import PictureError, decode_picture, read_picture
from moeisr_plugin.pictures.heif import check_heif

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow with AVIF")


def avif(**options):
    file = io.BytesIO()
    Image.fromarray(np.full((18, 23, 3), 100, np.uint8)).save(file, "AVIF", quality=100, **options)
    return file.getvalue()


def with_colours(data, primaries, transfer):
    """Return an AVIF file with other numbers in its colour box, which has the same size."""
    start = data.index(b"nclx")
    return data[: start + 4] + struct.pack(">HH", primaries, transfer) + data[start + 8 :]


@needs_avif
@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (2, 2), (6, 6), (1, 1)])
def test_colours_like_srgb_are_read(primaries, transfer):
    picture = decode_picture(io.BytesIO(with_colours(avif(), primaries, transfer)))
    assert picture.note is None
    assert np.abs(picture.pixels.astype(int) - 100).max() <= 2


@needs_avif
@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (9, 18), (12, 13), (9, 1), (1, 16)])
def test_other_colours_are_refused(primaries, transfer):
    message = rf"primaries {primaries}, transfer {transfer} of H.273\); convert it to sRGB"
    with pytest.raises(PictureError, match=message):
        decode_picture(io.BytesIO(with_colours(avif(), primaries, transfer)))


@needs_avif
def test_colours_of_another_picture_in_the_file_do_not_count():
    """The colour box stays in the file, but the primary picture no longer refers to it."""
    data = bytearray(with_colours(avif(), 9, 16))
    start = data.index(b"ipma") + 4
    count = data[start + 10]
    references = data[start + 11 : start + 11 + count]
    kinds = [data.index(kind) for kind in (b"ispe", b"pixi", b"av1C", b"colr")]
    colour = 1 + sorted(kinds).index(data.index(b"colr"))
    for i, reference in enumerate(references):
        if reference & 0x7F == colour:
            data[start + 11 + i] = 0  # 0 refers to no property
    assert decode_picture(io.BytesIO(bytes(data))).pixels.shape == (18, 23, 3)


@needs_avif
def test_a_crop_is_refused():
    data = avif()
    with pytest.raises(PictureError, match=r"has a crop \(clap\)"):
        decode_picture(io.BytesIO(data.replace(b"pixi", b"clap", 1)))


@needs_avif
def test_more_than_8_bits_give_a_note():
    data = avif()
    start = data.index(b"pixi") + 9
    assert data[start : start + 3] == bytes([8, 8, 8])
    deep = data[:start] + bytes([10, 10, 10]) + data[start + 3 :]
    assert check_heif(io.BytesIO(data)) is None
    assert check_heif(io.BytesIO(deep)) == "has 10 bits a sample; 8 are used"


def test_heic_without_its_package_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(40))
    with pytest.raises(PictureError, match=r"a\.heic: is HEIC; run `pip install \"moeisr_plugin\[heic\]\"`"):
        read_picture(tmp_path / "a.heic")


def test_heic_is_read():
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif")
    file = io.BytesIO()
    image = Image.fromarray(np.full((64, 48, 3), 100, np.uint8))
    pillow_heif.from_pillow(image).save(file, quality=-1)
    picture = decode_picture(file)
    assert picture.pixels.shape == (64, 48, 3)
    assert np.abs(picture.pixels.astype(int) - 100).max() <= 2
