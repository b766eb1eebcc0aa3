"""TGA, which has no magic number: tell it by a header that fits the size of the file."""

import io
import struct
from typing import BinaryIO

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
