"""Find damage in the data of a JPEG. Its decoder only warns of it, and the warnings are lost."""

import re
from typing import BinaryIO

from moeisr_plugin.utils.available_memory import available_memory

from .picture import PictureError

START = b"\xff\xd8"
END = b"\xff\xd9"
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker other than the restarts, which are a part of the data of a scan."""
SCAN, LINES = 0xDA, 0xDC
FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive frames of Huffman codes (ITU-T T.81, table B.1)."""
OTHER_FRAMES = (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
DESCRIPTIONS = (*range(0xE0, 0xF0), 0xFE)
BYTES_PER_PIXEL = 40
"""Memory of the parser. It ends the process where there is less."""


class DamagedJpegError(PictureError):
    """The data of a JPEG are damaged. Decoders give a picture all the same, of which parts are wrong."""


def is_jpeg(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(3) == START + b"\xff"


def check_jpeg_data(file: BinaryIO, *, pixels: int) -> None:
    """Parse the data of a JPEG strictly.

    The parser belongs to JPEG XL, which stores JPEG data bit by bit. It finds all the damage of which libjpeg
    warns, and more. CMYK, 12 bits, arithmetic coding and sampling by 4 are not checked.

    Args:
        file: a JPEG that decoders accept.
        pixels: their number.

    Raises:
        DamagedJpegError: the data break the rules of the format.
        MemoryError: there is too little memory to tell.
    """
    import imagecodecs

    file.seek(0)
    parsed = _essential_parts(file.read())
    if parsed is None:
        return
    available = available_memory()
    if available is not None and available < BYTES_PER_PIXEL * pixels:
        raise MemoryError("too little memory to check a JPEG")
    try:
        imagecodecs.jpegxl_encode_jpeg(parsed, numthreads=1)
    except imagecodecs.JpegxlError:
        raise DamagedJpegError(
            "is damaged (its JPEG data break off or are invalid); copy or export it again, or add "
            "--accept-truncated to moeisr upscale"
        ) from None


def _essential_parts(data: bytes) -> bytes | None:
    """Return a JPEG without descriptions and what follows its end, or None if the parser does not know it."""
    kept, at, is_scan = [START], 2, False
    while found := MARKER.search(data, at):
        start, code = found.start(), data[found.start() + 1]
        if is_scan:
            kept.append(data[at:start])
        if code == END[1]:
            break
        stop = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        segment = data[start:stop]
        if code in OTHER_FRAMES or code == LINES or (code in FRAMES and not _is_known_frame(segment)):
            return None
        if code not in DESCRIPTIONS:
            kept.append(segment)
        at, is_scan = stop, code == SCAN
    return b"".join([*kept, END])


def _is_known_frame(segment: bytes) -> bool:
    """Return whether a frame has 8 bits, one or three components, and sampling factors of at most 2."""
    bits, components = segment[4], segment[9]
    factors = segment[11 : 11 + 3 * components : 3]
    return bits == 8 and components in (1, 3) and all(each >> 4 <= 2 and each & 15 <= 2 for each in factors)
