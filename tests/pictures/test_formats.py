"""Formats beside PNG, JPEG and TIFF give the pixels that were stored, or are refused by name."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from moeisr_plugin.pictures import PictureError, decode_header, decode_picture

HEIGHT, WIDTH = 19, 37


def noise(channels, bits=8, seed=0):
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(2**bits, size=shape).astype("u1" if bits <= 8 else "u2")


def check(data, expected, note=None):
    picture, header = decode_picture(io.BytesIO(data)), decode_header(io.BytesIO(data))
    np.testing.assert_array_equal(picture.pixels, expected, strict=True)
    assert picture.note == note
    assert header[:2] == expected.shape[:2]
    assert header.has_alpha == picture.has_alpha
    assert header.is_grey == (expected.ndim == 2 or expected.shape[2] == 2)


def saved(pixels, name, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, **options)
    return file.getvalue()


def full_range(pixels, bits):
    white = 255 if bits <= 8 else 65535
    return np.rint(pixels * (white / (2**bits - 1))).astype(pixels.dtype)


@pytest.mark.parametrize("largest", [1, 15, 255, 1023, 65535])
@pytest.mark.parametrize(
    ("kind", "channels"),
    [("GRAYSCALE", 1), ("GRAYSCALE_ALPHA", 2), ("RGB", 3), ("RGB_ALPHA", 4), ("", 3), ("BLACKANDWHITE", 1)],
)
def test_pam(kind, channels, largest):
    bits = largest.bit_length()
    pixels = noise(channels, bits)
    head = f"P7\n# made here\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\nDEPTH {channels}\nMAXVAL {largest}\n"
    head += f"TUPLTYPE {kind}\nENDHDR\n" if kind else "ENDHDR\n"
    data = head.encode() + pixels.astype("u1" if bits <= 8 else ">u2").tobytes()
    check(data, full_range(pixels, bits))
    with pytest.raises(PictureError, match="is damaged or incomplete"):
        decode_picture(io.BytesIO(data[:-5]))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("container", [False, True])
def test_jpeg_xl(channels, bits, container):
    pixels = noise(channels, bits)
    data = imagecodecs.jpegxl_encode(pixels, bitspersample=bits, usecontainer=container, lossless=True)
    expected = full_range(pixels, bits)
    if bits > 8:  # this encoder declares linear light then
        colours = expected if channels == 1 else expected[..., : channels - (channels % 2 == 0)]
        unit = colours / 65535
        unit = np.where(unit <= 0.0031308, 12.92 * unit, 1.055 * unit ** (1 / 2.4) - 0.055)
        colours[...] = np.rint(unit * 65535)
    check(data, expected)


def test_lossy_jpeg_xl_of_another_size_keeps_smooth_colours():
    y, x = np.mgrid[:240, :320]
    pixels = np.stack([x // 2, y, (x + y) // 3], axis=-1).astype(np.uint8)
    picture = decode_picture(io.BytesIO(imagecodecs.jpegxl_encode(pixels, level=95)))
    assert np.abs(picture.pixels.astype(int) - pixels).mean() < 1


def test_floating_point_jpeg_xl_is_refused():
    data = imagecodecs.jpegxl_encode(noise(3).astype(np.float32) / 255)
    with pytest.raises(PictureError, match="is JPEG XL with floating-point samples; convert"):
        decode_picture(io.BytesIO(data))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("container", ["jp2", "j2k"])
def test_jpeg_2000_keeps_its_depth(channels, bits, container):
    pixels = noise(channels, bits)
    data = imagecodecs.jpeg2k_encode(pixels, bitspersample=bits, codecformat=container, level=0)
    check(data, full_range(pixels, bits))


@pytest.mark.parametrize("bits", [8, 16])
def test_the_profile_of_jpeg_2000_is_kept(bits):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = imagecodecs.jpeg2k_encode(noise(3, bits), level=0)
    old = b"\0\0\0\x0fcolr\x01\0\0\0\0\0\x10"
    assert old in data
    new = struct.pack(">I", 11 + len(profile)) + b"colr\x02\0\0" + profile
    start = data.index(b"jp2h") - 4
    size = struct.unpack(">I", data[start : start + 4])[0] + len(new) - len(old)
    data = data[:start] + struct.pack(">I", size) + data[start + 4 :].replace(old, new)
    assert decode_picture(io.BytesIO(data)).icc_profile == profile


@pytest.mark.parametrize("compression", [None, "tga_rle"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tga(channels, compression):
    pixels = noise(channels)
    options = {} if compression is None else {"compression": compression}
    check(saved(pixels, "TGA", **options), pixels)
    check(saved(pixels, "TGA", **options).removesuffix(bytes(8) + b"TRUEVISION-XFILE.\0"), pixels)


def tga(bits, attribute_bits, data):
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, WIDTH, HEIGHT, bits, 0x20 | attribute_bits)
    return head + data.tobytes()


def test_the_highest_of_16_bits_is_an_alpha_only_if_declared():
    values = np.random.default_rng(0).integers(2**16, size=(HEIGHT, WIDTH)).astype("<u2")
    colours = np.stack([values >> 10 & 31, values >> 5 & 31, values & 31], axis=-1).astype(int) * 255 // 31
    check(tga(16, 0, values), colours.astype(np.uint8))
    picture = decode_picture(io.BytesIO(tga(16, 1, values)))
    assert picture.pixels.shape == (HEIGHT, WIDTH, 4)


@pytest.mark.parametrize("attribute_bits", [0, 8])
@pytest.mark.parametrize("alpha", [0, 255, None])
def test_an_alpha_of_32_bits_counts_unless_it_is_empty_and_not_declared(alpha, attribute_bits):
    pixels = noise(4)
    if alpha is not None:
        pixels[..., 3] = alpha
    picture = decode_picture(io.BytesIO(tga(32, attribute_bits, pixels[..., [2, 1, 0, 3]])))
    expected = pixels[..., :3] if alpha == 0 and not attribute_bits else pixels
    np.testing.assert_array_equal(picture.pixels, expected)


@pytest.mark.parametrize(("name", "kept"), [("PNG", 40), ("JPEG", 30), ("GIF", 8), ("WEBP", 14)])
def test_a_damaged_head_is_named_as_damage(name, kept):
    data = saved(noise(3) if name != "GIF" else noise(1), name)
    with pytest.raises(PictureError, match="is damaged or incomplete"):
        decode_picture(io.BytesIO(data[:kept] + b"\xff" * 300))
    with pytest.raises(PictureError, match="is damaged or incomplete"):
        decode_header(io.BytesIO(data[:kept]))


@pytest.mark.parametrize("junk", [bytes(1000), b"\1" * 999, b"plain text, which is no picture at all"])
def test_what_only_resembles_a_tga_is_refused(junk):
    with pytest.raises(PictureError, match="is not a picture of a known format"):
        decode_picture(io.BytesIO(junk))


@pytest.mark.parametrize("channels", [3, 4])
def test_qoi(channels):
    pixels = noise(channels)
    check(imagecodecs.qoi_encode(pixels), pixels)


def test_the_largest_picture_of_an_icon_is_read():
    pixels = np.random.default_rng(0).integers(256, size=(48, 48, 4)).astype(np.uint8)
    data = saved(pixels, "ICO", sizes=[(16, 16), (48, 48), (32, 32)])
    check(data, pixels, "has 3 sizes; only the largest is used")


def bitmap(bits, masks, pixels):
    """Return a BMP of pixel values (H, W) with masks of red, green, blue and alpha."""
    rows = pixels[::-1].astype("<u2" if bits == 16 else "<u4")
    data = b"".join(row.tobytes() + bytes(-len(row.tobytes()) % 4) for row in rows)
    head = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, bits, 3, len(data), 0, 0, 0, 0)
    head += struct.pack("<4I", *masks) + b"BGRs" + bytes(48)
    return struct.pack("<2sIHHI", b"BM", 14 + len(head) + len(data), 0, 0, 14 + len(head)) + head + data


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, (0xF800, 0x7E0, 0x1F, 0)),
        (16, (0x7C00, 0x3E0, 0x1F, 0)),
        (32, (0xFF0000, 0xFF00, 0xFF, 0)),
        (32, (0xFF, 0xFF00, 0xFF0000, 0)),
        (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
        (32, (0xFF000000, 0xFF0000, 0xFF00, 0)),
        (16, (0xF00, 0xF0, 0xF, 0)),
    ],
)
def test_bitmaps_of_any_masks_are_right_or_refused_as_a_layout(bits, masks):
    values = np.random.default_rng(0).integers(2**bits, size=(HEIGHT, WIDTH))
    planes = []
    for mask in filter(None, masks):
        low = (mask & -mask).bit_length() - 1
        planes.append(((values & mask) >> low) * (255 / (mask >> low)))
    try:
        picture = decode_picture(io.BytesIO(bitmap(bits, masks, values)))
    except PictureError as error:
        assert "has a layout that is not read (Unsupported BMP bitfields" in str(error)  # noqa: PT017
    else:
        assert np.abs(picture.pixels - np.stack(planes, axis=-1)).max() < 1


@pytest.mark.parametrize(
    ("start", "line"),
    [
        (b"\x76\x2f\x31\x01", "is OpenEXR, whose linear light has no fixed white; tone-map it"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n", "is Radiance HDR, whose linear light"),
        (b"PF\n4 5\n-1.0\n", "is a PFM, whose linear light"),
        (b"DDS |\0\0\0", "is a DDS texture, which is not read; export it as PNG first"),
        (b"8BPS\0\1", "is a Photoshop file, which is not read"),
    ],
)
def test_formats_that_are_not_read_are_named(start, line):
    with pytest.raises(PictureError, match=line):
        decode_picture(io.BytesIO(start + bytes(200)))


def test_a_png_whose_text_exif_is_damaged_loses_only_the_exif():
    data = saved(noise(3), "PNG")
    content = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n      20\nnot hexadecimal\n")
    chunk = (
        struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    )
    picture = decode_picture(io.BytesIO(data[:33] + chunk + data[33:]))
    np.testing.assert_array_equal(picture.pixels, noise(3))
    assert picture.exif is None
