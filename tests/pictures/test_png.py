"""PNG features that the decoders treat differently: transparent greys and animations."""

import io
import struct
import zlib

import numpy as np
import pytest

from moeisr_plugin.pictures import decode_picture

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
