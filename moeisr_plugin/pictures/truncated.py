"""Files that lack their end: JPEG, PNG and WebP are completed, so that decoders read what is there."""

import zlib

from .png import SIGNATURE, chunk, chunks, raw_size

LARGEST_GAP = 2**26
"""Bytes of a WebP that may be missing. A header may claim 4 GB."""
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


def is_truncated(data: bytes) -> bool:
    """Return whether data begin as JPEG, PNG or WebP, and lack their end."""
    if data.startswith(b"\xff\xd8\xff"):
        return data.rfind(END_OF_IMAGE) < data.rfind(START_OF_SCAN)
    if data.startswith(SIGNATURE):
        return all(kind != b"IEND" for kind, _, is_whole in chunks(data) if is_whole)
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
        missing = 8 + int.from_bytes(data[4:8], "little") - len(data)
        if missing > LARGEST_GAP:
            raise ValueError("most of the file is missing")
        return data + bytes(missing)
    return _completed_png(data)


def _completed_png(data: bytes) -> bytes:
    out, packed = [SIGNATURE], b""
    header = b""
    for kind, content, is_whole in chunks(data):
        if kind == b"IDAT":
            packed += content
        elif is_whole and not packed:
            header = content if kind == b"IHDR" else header
            out.append(chunk(kind, content))
    if not packed:
        raise ValueError("no pixel is there")
    inflate = zlib.decompressobj()
    size = raw_size(header)
    rows = inflate.decompress(packed, size)
    out += [chunk(b"IDAT", zlib.compress(rows.ljust(size, b"\0"), 1)), chunk(b"IEND", b"")]
    return b"".join(out)
