"""EXIF, XMP and resolution of JPEG XL and JPEG 2000 are kept, or a note says why not."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from moeisr_plugin.pictures import decode_picture, read_picture, upright, write_picture

ORIENTATION, MAKER = 0x0112, 0x010F
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" b="here"/></x:xmpmeta>'
JXL_HEAD = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x14ftypjxl \0\0\0\0jxl "


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def exif_block(order, orientation=6):
    exif = Image.Exif()
    exif.endian = order
    exif[ORIENTATION], exif[MAKER] = orientation, "Acme"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    assert block.startswith(b"II" if order == "<" else b"MM")
    return block


def noise(bits=8):
    pixels = np.random.default_rng(0).integers(2**bits, size=(13, 17, 3))
    return pixels.astype(np.uint8 if bits == 8 else np.uint16)


def jpegxl(*metadata, first=True):
    """Return a JPEG XL file with boxes before or after the codestream."""
    code = imagecodecs.jpegxl_encode(noise(), lossless=True, usecontainer=False)
    parts = [*metadata, box(b"jxlc", code)] if first else [box(b"jxlc", code), *metadata]
    return io.BytesIO(JXL_HEAD + b"".join(parts))


def compressed(kind, content):
    return box(b"brob", kind + imagecodecs.brotli_encode(content))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("make", [box, compressed])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "avif"])
def test_metadata_of_jpeg_xl(suffix, order, make, first, tmp_path):
    picture = decode_picture(
        jpegxl(
            make(b"Exif", b"\0\0\0\0" + exif_block(order)),
            make(b"xml ", XMP),
            make(b"jumb", b"?"),
            first=first,
        )
    )
    np.testing.assert_array_equal(picture.pixels, noise())
    assert picture.note is None
    assert picture.orientation == 1  # that of the codestream counts
    assert picture.exif_tags()[MAKER] == "Acme"
    write_picture(tmp_path / f"a.{suffix}", picture)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert image.getexif()[MAKER] == "Acme"
        assert image.getexif().get(ORIENTATION, 1) == 1
        assert image.info["xmp"].rstrip(b"\0") == XMP.replace(b'"6"', b'"1"')


@pytest.mark.parametrize("content", [b"damaged", imagecodecs.brotli_encode(bytes(2**24 + 1))])
def test_unreadable_metadata_of_jpeg_xl_are_noted(content):
    picture = decode_picture(jpegxl(box(b"brob", b"Exif" + content)))
    assert picture.exif is None
    assert picture.note == "has compressed metadata that cannot be read, and are left out"


@pytest.mark.parametrize(
    "exif", [b"", b"\0\0\0\1", b"\xff" * 9, b"\0\0\0\0II*\0", b"\0\0\0\0MM\0*\0\0\0\x63"]
)
def test_damaged_exif_of_jpeg_xl_is_left_out(exif):
    picture = decode_picture(jpegxl(box(b"Exif", exif)))
    assert picture.exif is None
    np.testing.assert_array_equal(picture.pixels, noise())


def test_the_gain_map_of_jpeg_xl_is_noted():
    assert decode_picture(jpegxl(box(b"jhgm", b"?"))).note == (
        "has a gain map; only the standard picture is used"
    )


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_metadata_of_jpeg_2000(prefix, bits, tmp_path):
    data = imagecodecs.jpeg2k_encode(noise(bits), level=0)
    start = data.index(b"jp2h") - 4
    size = struct.unpack(">I", data[start : start + 4])[0]
    resolution = box(b"res ", box(b"resc", struct.pack(">HHHHbb", 1181, 100, 5906, 1000, 3, 3)))
    head = struct.pack(">I", size + len(resolution)) + data[start + 4 : start + size] + resolution
    exif = box(b"uuid", b"JpgTiffExif->JP2" + prefix + exif_block("<"))
    xmp = box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP)
    other = box(b"uuid", b"0123456789abcdef" + b"?")
    picture = decode_picture(io.BytesIO(data[:start] + head + other + exif + xmp + data[start + size :]))
    np.testing.assert_array_equal(picture.pixels, noise(bits))
    assert picture.exif == exif_block("<")
    assert picture.xmp == XMP
    assert picture.dpi == pytest.approx((5906 * 0.0254, 11810 * 0.0254))
    write_picture(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        if bits == 8:
            turned = np.asarray(ImageOps.exif_transpose(image))
            np.testing.assert_array_equal(turned, upright(noise(), 6))
    assert read_picture(tmp_path / "a.png").xmp == XMP
