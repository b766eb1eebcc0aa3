"""A JPEG whose data are damaged is refused, or read with a note; what is unusual but sound is read."""

import io
import random

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image
from second_decoder import decode
from skimage import data as photographs

from moeisr_plugin.data.decode import decode_rgb
from moeisr_plugin.pictures import PictureError, decode_picture, read_picture
from moeisr_plugin.pictures import jpeg as of_jpeg

PHOTO = np.ascontiguousarray(photographs.astronaut()[:121, :203])


def saved(pixels=PHOTO, name="JPEG", mode=None, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, name, quality=90, **options)
    return file.getvalue()


def flipped(data, rng):
    """Return JPEG data with one bit of the first scan flipped."""
    damaged = bytearray(data)
    damaged[rng.randrange(data.index(b"\xff\xda") + 14, len(data) - 2)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
def test_all_damage_that_libjpeg_warns_of_is_refused(options):
    rng = random.Random(0)
    whole, warned, refused = saved(**options), 0, 0
    for damaged in (flipped(whole, rng) for _ in range(60)):
        try:
            decode_picture(io.BytesIO(damaged))
        except PictureError as error:
            assert "is damaged" in str(error)  # noqa: PT017
            refused += 1
        else:
            warned += decode(damaged, ".jpg", fail_on="warning") is None
    assert warned <= refused // 10  # the parsers differ in a few cases
    assert refused >= 3


def test_the_command_names_the_way_out(tmp_path):
    rng = random.Random(0)
    damaged = next(
        each
        for each in (flipped(saved(progressive=True), rng) for _ in range(60))
        if decode(each, ".jpg", fail_on="warning") is None
        and decode(each, ".jpg", fail_on="error") is not None
    )
    path = tmp_path / "a.jpg"
    path.write_bytes(damaged)
    with pytest.raises(PictureError) as refused:
        read_picture(path)
    assert str(refused.value) == (
        f"{path}: is damaged (its JPEG data break off or are invalid); copy or export it again, or add "
        "--accept-truncated to moeisr upscale"
    )
    picture = read_picture(path, accept_truncated=True)
    assert picture.note == "is damaged; parts of it may be wrong"
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(path)))
    np.testing.assert_array_equal(decode_rgb(damaged), picture.pixels)  # patches of a training


def sound():
    """Return JPEG files that are unusual, by name."""
    plain = saved(optimize=True)
    tables = plain.index(b"\xff\xdb")
    table = plain[tables : tables + 2 + int.from_bytes(plain[tables + 2 : tables + 4], "big")]
    files = {
        "bytes before a marker": plain[:tables] + b"\0\0" + plain[tables:],
        "fill bytes": plain[:tables] + b"\xff\xff" + plain[tables:],
        "a table twice": plain[:tables] + table + plain[tables:],
        "bytes after the end": plain + b"\xff\xda\xff\xd8 and more" * 9,
        "a picture after the end": plain + saved(PHOTO[..., 0]),
        "two pictures": saved(name="MPO", save_all=True, append_images=[Image.fromarray(PHOTO)]),
        "damaged EXIF": saved(exif=b"Exif\0\0\xff\xd9\xff\xda broken", comment=b"\xff\xd8\xff\xd9"),
        "a damaged profile": saved(icc_profile=random.Random(0).randbytes(150_000)),
        "CMYK": saved(mode="CMYK"),
        "RGB": saved(keep_rgb=True),
        "grey": saved(PHOTO[..., 0], progressive=True),
        "a pixel": saved(PHOTO[:1, :1]),
        "4:1:1": bytes(imagecodecs.jpeg8_encode(PHOTO, subsampling="411")),
        "4:4:0": bytes(imagecodecs.jpeg8_encode(PHOTO, subsampling="440")),
    }
    for factors in ("411111", "221111", "121111", "211111"):
        option = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, int(factors, 16)]
        restarts = [cv2.IMWRITE_JPEG_RST_INTERVAL, 3, cv2.IMWRITE_JPEG_PROGRESSIVE, int(factors[0] == "2")]
        files[f"factors {factors}"] = cv2.imencode(".jpg", PHOTO, option + restarts)[1].tobytes()
    for quality in (1, 50, 100):
        for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
            files[f"{quality} {subsampling}"] = saved(PHOTO[:17, :9], subsampling=subsampling)
    return files


@pytest.mark.parametrize("name", sound())
def test_unusual_files_are_read(name):
    data = sound()[name]
    picture = decode_picture(io.BytesIO(data))
    image = Image.open(io.BytesIO(data))
    expected = np.asarray(image.convert("RGB") if image.mode == "CMYK" else image)
    np.testing.assert_array_equal(picture.pixels, expected)


def test_the_parser_is_not_asked_where_it_would_lack_memory(monkeypatch):
    monkeypatch.setattr(of_jpeg, "available_memory", lambda: 40 * 121 * 203 - 1)
    with pytest.raises(MemoryError):
        decode_picture(io.BytesIO(saved()))
    decode_picture(io.BytesIO(saved()), check_jpeg=False)
