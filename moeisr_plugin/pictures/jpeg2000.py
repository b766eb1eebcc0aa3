"""Read JPEG 2000 with its colour profile, metadata and more than 8 bits, which Pillow ignores or reduces."""

import struct
from dataclasses import replace
from typing import BinaryIO, NamedTuple

import numpy as np

from .box_metadata import read_jpeg2000_metadata
from .boxes import boxes, file_boxes
from .picture import METRES_PER_INCH, Header, Picture, PictureError, plausible_dpi
from .xmp import kept_xmp

CODESTREAM = b"\xff\x4f\xff\x51"  # markers SOC and SIZ
CONTAINER = b"\0\0\0\x0cjP  "
LONGEST_HEADER = 2**24
ENUMERATED, PROFILE = 1, (2, 3)
SRGB, GREY = 16, 17


class _Info(NamedTuple):
    height: int
    width: int
    bits: tuple[int, ...]
    is_signed: bool
    space: int | None
    profile: bytes | None
    has_palette: bool
    dpi: tuple[float, float] | None


def is_deep_jpeg2000(file: BinaryIO) -> bool:
    """Return whether the file is JPEG 2000 with more than 8 bits a sample."""
    return is_jpeg2000(file) and max(_info(file).bits, default=0) > 8


def is_jpeg2000(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(8)
    return head == CONTAINER or head.startswith(CODESTREAM)


def with_metadata(picture: Picture, file: BinaryIO) -> Picture:
    """Return the picture of a JPEG 2000 file with its profile, EXIF, XMP and resolution."""
    info, metadata = _info(file), read_jpeg2000_metadata(file)
    picture = replace(picture, icc_profile=info.profile, exif=metadata.exif, dpi=info.dpi)
    return replace(picture, xmp=kept_xmp(metadata.xmp, picture.orientation))


def read_deep_jpeg2000_header(file: BinaryIO) -> Header:
    """Return the size and the channels of a file that passes `is_deep_jpeg2000`.

    Raises:
        PictureError: colours or channels that are not read.
    """
    info = _info(file)
    channels = len(info.bits)
    if len(set(info.bits)) != 1 or info.bits[0] > 16 or info.is_signed or channels > 4:
        raise PictureError("is JPEG 2000 with samples of unusual depths; convert it to a 16-bit PNG first")
    expected = (GREY,) if channels <= 2 else (SRGB,)
    if info.has_palette or (info.space is not None and info.space not in expected):
        raise PictureError("is JPEG 2000 with colours other than grey or RGB; convert it to PNG first")
    return Header(info.height, info.width, channels in (2, 4), channels <= 2)


def read_deep_jpeg2000(file: BinaryIO) -> Picture:
    """Decode at full depth, scaled to 16 bits."""
    import imagecodecs

    info = _info(file)
    file.seek(0)
    samples = imagecodecs.jpeg2k_decode(file.read(), numthreads=1)
    pixels = np.rint(samples * (65535 / (2 ** info.bits[0] - 1))).astype(np.uint16)
    return with_metadata(Picture(pixels), file)


def _info(file: BinaryIO) -> _Info:
    space = profile = dpi = None
    has_palette, start = False, 0
    file.seek(0)
    if not file.read(4).startswith(CODESTREAM):
        for kind, content, size in file_boxes(file):
            if kind == b"jp2h":
                file.seek(content)
                parts = dict(boxes(file.read(min(size or LONGEST_HEADER, LONGEST_HEADER))))
                has_palette = b"pclr" in parts
                dpi = _dpi(dict(boxes(parts.get(b"res ", b""))).get(b"resc", b""))
                colour = parts.get(b"colr", b"")
                if colour[:1] == bytes([ENUMERATED]):
                    space = int.from_bytes(colour[3:7], "big")
                elif colour and colour[0] in PROFILE:
                    profile = colour[3:] or None
            elif kind == b"jp2c":
                start = content
                break
        else:
            raise ValueError("it holds no codestream")
    file.seek(start)
    head = file.read(40 + 3 * 16384)
    if not head.startswith(CODESTREAM) or len(head) < 45:
        raise ValueError("it holds no codestream")
    x1, y1, x0, y0 = (int.from_bytes(head[i : i + 4], "big") for i in range(8, 24, 4))
    count = int.from_bytes(head[40:42], "big")
    depths = head[42 : 42 + 3 * count : 3]
    return _Info(
        height=y1 - y0,
        width=x1 - x0,
        bits=tuple((depth & 0x7F) + 1 for depth in depths),
        is_signed=any(depth & 0x80 for depth in depths),
        space=space,
        profile=profile,
        has_palette=has_palette,
        dpi=dpi,
    )


def _dpi(box: bytes) -> tuple[float, float] | None:
    """Return pixels per inch, horizontal first, of the box of the captured resolution (per metre)."""
    if len(box) < 10:
        return None
    down, down_by, across, across_by, down_power, across_power = struct.unpack(">HHHHbb", box[:10])
    if not down_by * across_by:
        return None
    per_metre = (across / across_by * 10.0**across_power, down / down_by * 10.0**down_power)
    return plausible_dpi([each * METRES_PER_INCH for each in per_metre])
