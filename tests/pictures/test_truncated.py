"""A JPEG, PNG or WebP that lacks its end is refused, or read with a note as far as it goes."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from moeisr_plugin.pictures import Picture, PictureError, decode_picture, read_picture, write_picture
from moeisr_plugin.pictures.truncated import completed

HEIGHT, WIDTH = 120, 161


def gradient(channels=3):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = np.stack([x + 20, 2 * y, 255 - x, 100 + y], axis=-1).astype(np.uint8)[..., :channels]
    return planes + np.random.default_rng(0).integers(8, size=planes.shape).astype(np.uint8)


def saved(name, **options):
    file = io.BytesIO()
    Image.fromarray(gradient()).save(file, name, **options)
    return file.getvalue()


KINDS = {
    "jpeg": lambda: saved("JPEG", quality=90),
    "progressive jpeg": lambda: saved("JPEG", quality=90, progressive=True),
    "png": lambda: saved("PNG"),
}


@pytest.mark.parametrize("kept", [0.5, 0.9])
@pytest.mark.parametrize("kind", KINDS)
def test_the_part_that_is_there_is_read(kind, kept):
    whole = KINDS[kind]()
    cut = whole[: int(kept * len(whole))]
    with pytest.raises(PictureError, match=r"lacks its end, which --accept-truncated"):
        decode_picture(io.BytesIO(cut))
    picture = decode_picture(io.BytesIO(cut), accept_truncated=True)
    assert picture.note == "lacks its end; the missing part is filled"
    expected = decode_picture(io.BytesIO(whole)).pixels
    rows = int(HEIGHT * (kept - 0.2))
    tolerance = 20 if kind == "progressive jpeg" else 0
    assert np.abs(picture.pixels[:rows].astype(int) - expected[:rows]).mean() <= tolerance


def test_webp_that_lacks_its_last_bytes():
    whole = saved("WEBP", quality=90)
    cut = whole[:-40]
    with pytest.raises(PictureError, match="--accept-truncated"):
        decode_picture(io.BytesIO(cut))
    picture = decode_picture(io.BytesIO(cut), accept_truncated=True)
    expected = decode_picture(io.BytesIO(whole)).pixels
    np.testing.assert_array_equal(picture.pixels[: HEIGHT // 2], expected[: HEIGHT // 2])


def test_sizes_that_headers_claim_take_no_memory(monkeypatch):
    monkeypatch.setattr("moeisr_plugin.pictures.reader.completed", lambda _: pytest.fail("completed"))
    png = bytearray(saved("PNG")[:2000])
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    with pytest.raises(PictureError, match="60000x60000 is more than the limit"):
        decode_picture(io.BytesIO(png), accept_truncated=True)
    webp = bytearray(saved("WEBP")[:-40])
    webp[4:8] = (2**32 - 100).to_bytes(4, "little")
    with pytest.raises(ValueError, match="most of the file is missing"):
        completed(bytes(webp))


@pytest.mark.parametrize("lost", [3, 12, 100])
def test_16_bits_and_names(tmp_path, lost):
    path = tmp_path / "a.png"
    pixels = gradient().astype(np.uint16) * 257
    write_picture(path, Picture(pixels))
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(PictureError) as refused:
        read_picture(path)
    assert str(refused.value).startswith(
        f"{path}: is damaged or incomplete (it lacks its end, which --accept-truncated of"
    )
    picture = read_picture(path, accept_truncated=True)
    np.testing.assert_array_equal(picture.pixels[: HEIGHT // 2], pixels[: HEIGHT // 2])


def test_a_whole_file_that_is_damaged_is_not_accepted():
    damaged = bytearray(saved("PNG"))
    damaged[200:220] = bytes(20)
    with pytest.raises(PictureError, match="is damaged or incomplete"):
        decode_picture(io.BytesIO(bytes(damaged)), accept_truncated=True)


def test_without_any_pixel_nothing_is_accepted():
    with pytest.raises(PictureError):
        decode_picture(io.BytesIO(saved("JPEG")[:100]), accept_truncated=True)
    with pytest.raises(PictureError):
        decode_picture(io.BytesIO(saved("PNG")[:40]), accept_truncated=True)
