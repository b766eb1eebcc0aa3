"""PNG features that the decoders treat differently: transparent greys and animations."""

import io
import struct
import zlib

import numpy as np
import pytest

from moeisr_plugin.pictures import PictureError, decode_picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width, height, bits, colour_type):
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("position", [0, 1, -2, -1])
def test_a_transparent_grey_of_any_depth_is_transparent(bits, position):
    values = np.linspace(0, 2**bits - 1, min(2**bits, 256)).round().astype(int)
    key = int(values[position])
    row = "".join(f"{value:0{bits}b}" for value in values)
    row += "0" * (-len(row) % 8)
    file = header(len(values), 1, bits, GREY) + chunk(b"tRNS", struct.pack(">H", key))
    file += chunk(b"IDAT", zlib.compress(b"\0" + int(row, 2).to_bytes(len(row) // 8, "big")))
    pixels = decode_picture(io.BytesIO(file + chunk(b"IEND", b""))).pixels
    white = 255 if bits <= 8 else 65535
    grey = np.rint(values * (white / (2**bits - 1)))
    expected = np.stack([grey, np.where(values == key, 0, white)], axis=-1)[None]  # (1, N, 2)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_still_picture_of_an_animation_is_read(bits):
    """The default image is not a frame of the animation where no fcTL comes before IDAT."""
    height, width = 3, 5
    still, frame = (np.full((height, width, 3), value, f">u{bits // 8}") for value in (200, 90))

    def compressed(pixels):
        return zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))

    control = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0)
    file = header(width, height, bits, RGB) + chunk(b"acTL", struct.pack(">II", 1, 0))
    file += chunk(b"IDAT", compressed(still)) + chunk(b"fcTL", control)
    file += chunk(b"fdAT", struct.pack(">I", 1) + compressed(frame)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode_picture(io.BytesIO(file)).pixels, still)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("height", [4, 40])
def test_a_png_with_fewer_rows_than_its_header_says_is_refused(bits, height):
    rows = b"".join(b"\0" + bytes(5 * 3 * bits // 8) for _ in range(3))
    file = header(5, height, bits, RGB) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with pytest.raises(PictureError, match="is damaged or incomplete"):
        decode_picture(io.BytesIO(file))


def test_a_png_whose_checksum_of_pixels_is_wrong_is_refused():
    rows = zlib.compress(b"".join(b"\0" + bytes(15) for _ in range(3)))
    data = rows[:-1] + bytes([rows[-1] ^ 1])
    with pytest.raises(PictureError, match="is damaged or incomplete"):
        decode_picture(io.BytesIO(header(5, 3, 8, RGB) + chunk(b"IDAT", data) + chunk(b"IEND", b"")))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_an_interlaced_png_is_complete(bits):
    """Adam7: pass by pass, of which a 5 x 3 picture has 6."""
    width, height = 5, 3
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    data = b""
    for x, y, across, down in passes:
        columns, rows = len(range(x, width, across)), len(range(y, height, down))
        data += (b"\0" + b"\xff" * ((columns * bits + 7) // 8)) * rows if columns else b""
    ihdr = struct.pack(">IIBBBBB", width, height, bits, GREY, 0, 0, 1)
    file = SIGNATURE + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    pixels = decode_picture(io.BytesIO(file)).pixels
    assert pixels.shape == (height, width)
    assert (pixels == np.iinfo(pixels.dtype).max).all()
