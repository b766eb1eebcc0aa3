"""AVIF and HEIC: colours and crops that Pillow would lose are refused, and HEIC without its package."""

import io
import struct
import sys

import imagecodecs
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


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [10, 12])
@needs_avif
def test_avif_of_10_and_12_bits_keeps_them(bits, channels):
    shape = (18, 23) if channels == 1 else (18, 23, channels)
    samples = np.random.default_rng(bits).integers(2**bits, size=shape).astype(np.uint16)
    form = "400" if channels == 1 else "444"
    data = imagecodecs.avif_encode(samples, level=100, bitspersample=bits, pixelformat=form)
    picture = decode_picture(io.BytesIO(data))
    expected = np.rint(samples * (65535 / (2**bits - 1)))
    if channels == 1:
        expected = np.repeat(expected[..., None], 3, axis=2)
    np.testing.assert_array_equal(picture.pixels, expected.astype(np.uint16), strict=True)
    assert picture.note is None


@needs_avif
def test_a_gain_map_gives_a_note():
    data = avif()
    assert check_heif(io.BytesIO(data)) is None
    start = data.index(b"meta") - 4
    size = struct.unpack(">I", data[start : start + 4])[0]
    item = struct.pack(">I4sIHH4s", 20, b"infe", 2 << 24, 9, 0, b"tmap")
    changed = data[:start] + struct.pack(">I", size + len(item)) + data[start + 4 : start + size] + item
    assert check_heif(io.BytesIO(changed)) == "has a gain map; only the standard picture is used"


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


def test_heic_of_10_bits_keeps_them():
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif")
    ramp = np.mgrid[:64, :48].sum(axis=0)[..., None] * np.full(3, 65535 / 110)
    image = pillow_heif.from_bytes(mode="RGB;16", size=(48, 64), data=ramp.astype("<u2").tobytes())
    file = io.BytesIO()
    image.save(file, quality=-1, chroma=444)
    picture = decode_picture(file)
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels - ramp).max() < 200
