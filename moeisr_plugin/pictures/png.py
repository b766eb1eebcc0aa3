"""PNG: reading 16 bits per sample, which Pillow reduces to 8, and writing row by row."""

import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from .picture import METRES_PER_INCH, Picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of channels; PNG 1.2, section 4.1.1
COLOUR_CHUNKS = (b"cICP", b"gAMA", b"cHRM", b"sRGB")
"""What samples mean as colours, in place of a profile or beside it (PNG 3, section 11.3.2)."""
ANIMATION_CHUNKS = (b"acTL", b"fcTL", b"fdAT")
SUB, UP = 1, 2
INFLATED_AT_ONCE = 2**20
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type; PNG 1.2, section 4.1.1
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and the steps to the next, of the passes of an interlaced PNG (section 2.6)."""
DEFLATE_LEVEL = 4
"""For enlarged photographs three times as fast as level 6, the default of zlib, and a few per cent larger."""


def check_png_data(file: BinaryIO) -> None:
    """Raise `ValueError` unless the data of a PNG are complete; decoders leave missing rows black.

    Args:
        file: a PNG with whole chunks.
    """
    file.seek(0)
    inflate, missing = zlib.decompressobj(), 0
    for kind, content, _ in chunks(file.read()):
        if kind == b"IHDR":
            missing = raw_size(content)
        while kind == b"IDAT" and content and not inflate.eof:
            missing -= len(inflate.decompress(content, INFLATED_AT_ONCE))
            content = inflate.unconsumed_tail
    if missing > 0 or not inflate.eof:
        raise ValueError("its pixels are incomplete")


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield kind and content of the chunks of a PNG, and whether they are whole."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at + 8 : at + 8 + length], at + 12 + length <= len(data)
        at += 12 + length


def raw_size(header: bytes) -> int:
    """Return the bytes of all rows with their filters."""
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header[:13])
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -((x - width) // step_x), -((y - height) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits * SAMPLES[kind] // 8))
    return total


def is_png16(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(25)
    return head.startswith(SIGNATURE) and head[24:] == b"\x10"


def read_png16_pixels(file: BinaryIO, image: Image.Image) -> np.ndarray:
    """Decode a PNG with 16 bits per sample.

    Args:
        file: a file that passes `is_png16`.
        image: the same file opened by Pillow. It is loaded to check all chunks and to read the metadata;
            OpenCV returns black rows for some incomplete files.

    Returns:
        (H, W) or (H, W, 2 | 3 | 4) uint16.
    """
    import cv2

    image.load()
    data = np.frombuffer(_without_animation(file), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise OSError("OpenCV cannot decode it")
    if pixels.ndim == 2:
        key = image.info.get("transparency")
        return pixels if key is None else np.dstack([pixels, np.where(pixels == key, 0, 65535)]).astype("u2")
    if data[25] == COLOUR_TYPE[2]:
        return np.ascontiguousarray(pixels[..., [0, 3]])
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def scale_transparent_grey(file: BinaryIO, image: Image.Image) -> None:
    """Scale the transparent grey of a PNG of 1, 2 or 4 bits to the 8 bits to which Pillow scales the pixels.

    Args:
        file: the PNG.
        image: the same file as opened by Pillow and loaded. Its `transparency` is replaced.
    """
    file.seek(24)
    bits, colour_type = file.read(2)
    key = image.info.get("transparency")
    if colour_type == COLOUR_TYPE[1] and bits < 8 and isinstance(key, int):
        white = 2**bits - 1
        image.info["transparency"] = (key & white) * (255 // white)  # PNG 1.2, 4.2.1: only the low bits count


def _without_animation(file: BinaryIO) -> bytes:
    """Return a PNG without its animation, of which OpenCV decodes a frame instead of the still picture."""
    file.seek(0)
    kept = [file.read(len(SIGNATURE))]
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        rest = file.read(length + 4)
        if kind not in ANIMATION_CHUNKS:
            kept += [head, rest]
    return b"".join(kept)


def read_colour_chunks(file: BinaryIO) -> bytes:
    """Return the bytes of the `COLOUR_CHUNKS` of a valid PNG."""
    file.seek(len(SIGNATURE))
    found = b""
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            break
        rest = file.read(length + 4)
        if kind in COLOUR_CHUNKS:
            found += head + rest
    return found


def write_png(file: BinaryIO, bands: Iterable[np.ndarray], *, like: Picture, size: tuple[int, int]) -> None:
    """Write a PNG row by row, with colour profile or colour chunks, EXIF block and resolution.

    Args:
        file: open for writing.
        bands: (N, W) or (N, W, C), H rows in total.
        like: source of the bit depth, the channels and the metadata.
        size: (H, W).
    """
    height, width = size
    pixel = like.pixels[0, 0]
    kind = COLOUR_TYPE[pixel.size]
    file.write(SIGNATURE)
    file.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * pixel.itemsize, kind, 0, 0, 0)))
    file.write(like.png_colour)
    if like.icc_profile is not None:
        file.write(chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(like.icc_profile)))
    if like.dpi is not None:
        per_metre = [round(dpi / METRES_PER_INCH) for dpi in like.dpi]
        file.write(chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if like.xmp is not None:
        file.write(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + like.xmp))
    if like.exif is not None:
        file.write(chunk(b"eXIf", like.exif))
    deflate = zlib.compressobj(DEFLATE_LEVEL)
    for row in _filtered_rows(bands, width, pixel.nbytes):
        if data := deflate.compress(row):
            file.write(chunk(b"IDAT", data))
    file.write(chunk(b"IDAT", deflate.flush()))
    file.write(chunk(b"IEND", b""))


def _filtered_rows(bands: Iterable[np.ndarray], width: int, pixel_bytes: int) -> Iterator[bytes]:
    """Yield each row as difference to the left or to the row above, whichever is smaller (PNG 1.2, 9.6)."""
    above = np.zeros(width * pixel_bytes, np.uint8)
    for samples in itertools.chain.from_iterable(bands):  # (W,) or (W, C)
        row = np.frombuffer(samples.astype(samples.dtype.newbyteorder(">")).tobytes(), np.uint8)
        to_left = row.copy()
        to_left[pixel_bytes:] -= row[:-pixel_bytes]
        differences = {SUB: to_left, UP: row - above}
        best = min(differences, key=lambda kind: _magnitude(differences[kind]))
        yield bytes([best]) + differences[best].tobytes()
        above = row


def _magnitude(differences: np.ndarray) -> int:
    """Return the sum of the absolute values of bytes taken as signed."""
    return np.minimum(differences, -differences).sum(dtype=np.int64)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
