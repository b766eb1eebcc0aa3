"""TGA, which has no magic number: tell it by a header that fits the size of the file."""

import io
import struct
from typing import BinaryIO

from PIL import Image

BITS, ATTRIBUTE_BITS = 16, 15
FOOTER = b"TRUEVISION-XFILE.\0"
PALETTE, PLAIN = (1, 9), (1, 2, 3)
DEPTHS = {1: (8,), 2: (16, 24, 32), 3: (8, 16), 9: (8,), 10: (16, 24, 32), 11: (8, 16)}
"""Bits of a pixel by type of picture: with palette, colour, grey, and the same three compressed."""


def is_tga(file: BinaryIO) -> bool:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(18)
    if len(head) < 18:
        return False
    comment, has_map, kind, _, entries, entry_bits, _, _, width, height, bits, flags = struct.unpack(
        "<BBBHHBHHHHBB", head
    )
    if bits not in DEPTHS.get(kind, ()) or has_map != (kind in PALETTE) or not width * height or flags >= 64:
        return False
    file.seek(max(0, size - len(FOOTER)))
    if file.read() == FOOTER:
        return True
    shortest = 18 + comment + has_map * entries * ((entry_bits + 7) // 8)
    pixels = width * height * (bits // 8)
    return size >= shortest + (pixels if kind in PLAIN else pixels // 128)


def may_have_alpha(file: BinaryIO) -> bool:
    """Return whether a TGA may have an alpha. Of 16 bits, the highest is one only if declared."""
    bits, descriptor = _bits_and_descriptor(file)
    return bits == 32 or bool(descriptor & ATTRIBUTE_BITS)


def without_empty_alpha(file: BinaryIO, image: Image.Image) -> Image.Image:
    """Return a TGA that Pillow opened as RGB if its fourth sample is no alpha.

    Many writers of 32 bits do not declare the alpha that they write, so there only zeros everywhere are none.
    """
    _, descriptor = _bits_and_descriptor(file)
    is_declared = bool(descriptor & ATTRIBUTE_BITS)
    image.load()
    if image.mode != "RGBA" or is_declared:
        return image
    if may_have_alpha(file) and image.getchannel("A").getextrema() != (0, 0):
        return image
    opaque = image.convert("RGB")
    opaque.format, opaque.info = image.format, image.info
    return opaque


def _bits_and_descriptor(file: BinaryIO) -> bytes:
    file.seek(BITS)
    return file.read(2)
