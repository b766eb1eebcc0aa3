"""EXIF and XMP in the boxes of JPEG XL and JPEG 2000, whose decoders leave them out."""

import struct
from typing import BinaryIO, NamedTuple

from .boxes import file_boxes
from .picture import ORIENTATION_TAG

LARGEST = 2**24
"""Bytes of a box of metadata, also after decompression; a limit on memory."""
TIFF_HEADERS = (b"II*\0", b"MM\0*")
JPEG_2000_EXIF = b"JpgTiffExif->JP2"
JPEG_2000_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""Identifiers of the boxes `uuid` that hold EXIF and XMP."""
SHORT = 3


class Metadata(NamedTuple):
    """EXIF from its TIFF header on, XMP, and one line on what was not read; None where there is nothing."""

    exif: bytes | None
    xmp: bytes | None
    note: str | None


def read_jpegxl_metadata(file: BinaryIO) -> Metadata:
    """Return the metadata of a JPEG XL file, compressed or not (ISO/IEC 18181-2, clause 9).

    The EXIF orientation becomes 1, because that of the codestream counts.
    """
    exif = xmp = note = None
    for kind, start, size in file_boxes(file):
        if kind == b"jhgm":
            note = "has a gain map; only the standard picture is used"
        elif kind in (b"Exif", b"xml ", b"brob"):
            content = _content(file, start, size)
            if kind == b"brob":
                kind, content = content[:4], _decompressed(content[4:])
            if content is None:
                note = "has compressed metadata that cannot be read, and are left out"
            elif kind == b"Exif":
                exif = exif or _upright(_from_header(content[4 + int.from_bytes(content[:4], "big") :]))
            elif kind == b"xml ":
                xmp = xmp or content
    return Metadata(exif, xmp, note)


def read_jpeg2000_metadata(file: BinaryIO) -> Metadata:
    """Return the metadata of a JPEG 2000 file: the boxes `uuid` of Adobe's programs."""
    exif = xmp = None
    for kind, start, size in file_boxes(file):
        if kind == b"uuid":
            content = _content(file, start, size)
            if content.startswith(JPEG_2000_EXIF):
                exif = exif or _from_header(content[len(JPEG_2000_EXIF) :])
            elif content.startswith(JPEG_2000_XMP):
                xmp = xmp or content[len(JPEG_2000_XMP) :]
    return Metadata(exif, xmp, None)


def _content(file: BinaryIO, start: int, size: int | None) -> bytes:
    file.seek(start)
    return file.read(LARGEST if size is None else min(size, LARGEST))


def _decompressed(data: bytes) -> bytes | None:
    """Return the content of a Brotli stream, or None if it is damaged or too long."""
    import imagecodecs

    try:
        return bytes(imagecodecs.brotli_decode(data, out=LARGEST))
    except (RuntimeError, ImportError):
        return None


def _from_header(exif: bytes) -> bytes | None:
    exif = exif.removeprefix(b"Exif\0\0")
    return exif if exif.startswith(TIFF_HEADERS) else None


def _upright(exif: bytes | None) -> bytes | None:
    """Return an EXIF block with the orientation 1 where it states one, or None if it is damaged.

    The bytes are changed in place, because a new block would lose the offsets of maker notes.
    """
    if exif is None:
        return None
    order = "<" if exif.startswith(b"II") else ">"
    block = bytearray(exif)
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}H", block, entry) == (ORIENTATION_TAG,):
                struct.pack_into(f"{order}HHIHH", block, entry, ORIENTATION_TAG, SHORT, 1, 1, 0)
    except struct.error:
        return None
    return bytes(block)
