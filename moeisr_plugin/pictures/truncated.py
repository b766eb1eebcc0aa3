"""Files that lack their end: JPEG, PNG and WebP are completed, so that decoders read what is there."""

import struct
import zlib
from collections.abc import Iterator

from .png import SIGNATURE, chunk

START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type; PNG 1.2, section 4.1.1
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and the steps to the next, of the passes of an interlaced PNG (section 2.6)."""


def is_truncated(data: bytes) -> bool:
    """Return whether data begin as JPEG, PNG or WebP, and lack their end."""
    if data.startswith(b"\xff\xd8\xff"):
        return data.rfind(END_OF_IMAGE) < data.rfind(START_OF_SCAN)
    if data.startswith(SIGNATURE):
        return all(kind != b"IEND" for kind, _, is_whole in _chunks(data) if is_whole)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return False


def completed(data: bytes) -> bytes:
    """Return truncated data with an end, which decoders fill with grey, black or nothing.

    Raises:
        ValueError: too little is there.
    """
    if data.startswith(b"\xff\xd8"):
        if START_OF_SCAN not in data:
            raise ValueError("no pixel is there")
        return data + END_OF_IMAGE
    if data.startswith(b"RIFF"):
        return data + bytes(8 + int.from_bytes(data[4:8], "little") - len(data))
    return _completed_png(data)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield kind and content of the chunks of a PNG, and whether they are whole."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at + 8 : at + 8 + length], at + 12 + length <= len(data)
        at += 12 + length


def _completed_png(data: bytes) -> bytes:
    out, packed = [SIGNATURE], b""
    header = b""
    for kind, content, is_whole in _chunks(data):
        if kind == b"IDAT":
            packed += content
        elif is_whole and not packed:
            header = content if kind == b"IHDR" else header
            out.append(chunk(kind, content))
    if not packed:
        raise ValueError("no pixel is there")
    inflate = zlib.decompressobj()
    size = _raw_size(header)
    rows = inflate.decompress(packed, size)
    out += [chunk(b"IDAT", zlib.compress(rows.ljust(size, b"\0"), 1)), chunk(b"IEND", b"")]
    return b"".join(out)


def _raw_size(header: bytes) -> int:
    """Return the bytes of all rows with their filters."""
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -((x - width) // step_x), -((y - height) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits * SAMPLES[kind] // 8))
    return total
