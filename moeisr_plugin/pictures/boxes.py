"""Boxes of the ISO base media format, which HEIF, AVIF, JPEG 2000 and JPEG XL are made of."""

import struct
from collections.abc import Iterator
from typing import BinaryIO


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each box; what follows a damaged one is left out."""
    start = 0
    while start + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        if size < 8:
            return
        yield kind, data[start + 8 : start + size]
        start += size


def file_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int | None]]:
    """Yield kind, start and size of the content of each box of a file; the last may have no size."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head[:8])
        start = at + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), at + 16
        if at + size < start:  # 0, to the end of the file, or damaged
            if size == 0:
                yield kind, start, None
            return
        yield kind, start, at + size - start
        at += size
