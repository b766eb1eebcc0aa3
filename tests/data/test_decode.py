"""Decoded pixels, compared with the arrays that the files were made from."""

import io

import numpy as np
import pytest
from picture_files import encode, noise
from PIL import Image

from moeisr_plugin.data.decode import decode_rgb
from moeisr_plugin.pictures import decode_header


def saved(image, image_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_pictures_are_decoded_exactly(suffix, dtype, channels):
    picture = noise(7, 5, channels=channels, dtype=dtype)
    encoded = encode(picture, suffix)
    expected = picture[..., [0, 0, 0]] if channels == 1 else picture[..., :3]
    decoded = decode_rgb(encoded)
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded, expected)
    # The TIFF files of OpenCV do not state that the fourth sample is alpha.
    assert decode_header(io.BytesIO(encoded)) == (7, 5, channels == 4, channels == 1)


def test_palette_is_converted_to_rgb():
    colours = noise(1, 9, seed=1)[0]
    indices = noise(6, 4, channels=1)[..., 0] % 9
    image = Image.fromarray(indices, mode="P")
    image.putpalette(colours.tobytes())
    np.testing.assert_array_equal(decode_rgb(saved(image)), colours[indices])
    transparent = saved(image, transparency=bytes(range(9)))
    np.testing.assert_array_equal(decode_rgb(transparent), colours[indices])
    assert decode_header(io.BytesIO(transparent)).has_alpha


def test_alpha_of_grey_is_dropped():
    picture = noise(6, 4, channels=2)
    decoded = decode_rgb(saved(Image.fromarray(picture, mode="LA")))
    np.testing.assert_array_equal(decoded, picture[..., [0, 0, 0]])


def test_cmyk_is_converted_to_rgb():
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[..., 0] = 255
    decoded = decode_rgb(saved(Image.fromarray(ink, mode="CMYK"), "TIFF"))
    np.testing.assert_array_equal(decoded, np.broadcast_to([0, 255, 255], (8, 8, 3)))


def test_lossless_webp_and_bmp_are_decoded_exactly():
    picture = noise(9, 11)
    np.testing.assert_array_equal(decode_rgb(saved(Image.fromarray(picture), "WEBP", lossless=True)), picture)
    np.testing.assert_array_equal(decode_rgb(encode(picture, ".bmp")), picture)


def test_exif_orientation_of_jpeg_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = saved(Image.fromarray(noise(8, 24)), "JPEG", exif=exif)
    assert decode_rgb(encoded).shape == (8, 24, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_truncated_picture_is_refused(suffix):
    encoded = encode(noise(40, 40), suffix)
    with pytest.raises(ValueError, match=r"is damaged|not a picture"):
        decode_rgb(encoded[: len(encoded) // 2])


def test_other_files_are_refused():
    with pytest.raises(ValueError, match="is not a picture of a known format"):
        decode_rgb(b"hello")
    with pytest.raises(ValueError, match="is not a picture of a known format"):
        decode_header(io.BytesIO(b"hello"))


def test_floating_point_tiff_is_refused():
    with pytest.raises(ValueError, match="floating-point samples, whose white is not defined"):
        decode_rgb(saved(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))
