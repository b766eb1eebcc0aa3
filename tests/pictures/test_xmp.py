"""XMP goes into the enlarged picture, unless it describes parts that do not; those give a note."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from moeisr_plugin.pictures import decode_picture, read_picture, write_picture

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="here"/></rdf:RDF></x:xmpmeta>'
)
ORIENTATION_TAG = 0x0112


def saved(name, xmp, orientation):
    image = Image.fromarray(np.random.default_rng(0).integers(256, size=(12, 17, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    options: dict = {"exif": exif, "xmp": xmp}
    if name == "PNG":
        information = PngInfo()
        information.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options = {"exif": exif, "pnginfo": information}
    elif name == "TIFF":
        options = {"tiffinfo": {700: xmp, 274: orientation}}
    file = io.BytesIO()
    image.save(file, name, **options)
    return file


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_xmp_survives_with_the_orientation_of_the_output(name, suffix, orientation, tmp_path):
    picture = decode_picture(saved(name, XMP % orientation, orientation))
    assert picture.note is None
    write_picture(tmp_path / f"a.{suffix}", picture)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        kept = image.info["xmp"]
        stored = image.getexif().get(ORIENTATION_TAG, 1)
    assert kept.rstrip(b"\0") == XMP % stored
    back = read_picture(tmp_path / f"a.{suffix}")
    assert back.xmp == XMP % back.orientation


def test_bmp_has_no_xmp(tmp_path):
    write_picture(tmp_path / "a.bmp", decode_picture(saved("JPEG", XMP % 1, 1)))
    assert read_picture(tmp_path / "a.bmp").xmp is None


def test_a_gain_map_is_noted_and_its_xmp_left_out():
    xmp = (XMP % 1).replace(b"xmlns:dc=", b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:dc=')
    picture = decode_picture(saved("JPEG", xmp, 1))
    assert picture.note == "has a gain map; only the standard picture is used"
    assert picture.xmp is None


def test_the_other_pictures_of_an_mpo_are_noted():
    images = [Image.fromarray(np.full((12, 17, 3), value, np.uint8)) for value in (10, 200)]
    file = io.BytesIO()
    images[0].save(file, "MPO", save_all=True, append_images=images[1:])
    picture = decode_picture(file)
    assert picture.note == "has 2 pictures; only the first is used"
    assert np.abs(picture.pixels.astype(int) - 10).max() <= 2


def test_xmp_too_long_for_jpeg_is_left_out(tmp_path):
    long = (XMP % 1).replace(b"here", b"x" * 70000)
    write_picture(tmp_path / "a.jpg", decode_picture(saved("PNG", long, 1)))
    assert read_picture(tmp_path / "a.jpg").xmp is None
