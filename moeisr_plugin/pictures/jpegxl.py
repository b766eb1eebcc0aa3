"""JPEG XL, decoded by imagecodecs. Its header is parsed here, as the decoder does not report colours."""

from typing import BinaryIO, NamedTuple

import numpy as np

from .alpha import divided
from .box_metadata import read_jpegxl_metadata
from .boxes import file_boxes
from .colour import encoded_as_srgb
from .picture import Header, Picture, PictureError
from .xmp import kept_xmp

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
CODESTREAM = b"\xff\x0a"
LONGEST_HEADER = 4096
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
"""Width to height, by number (ISO/IEC 18181-1, size header)."""
ALPHA = 0
RGB, GREY = 0, 1
D65, SRGB_PRIMARIES = 1, 1
LINEAR, SRGB_CURVE = 8, 13


class _Info(NamedTuple):
    height: int
    width: int
    orientation: int
    bits: int
    is_float: bool
    is_grey: bool
    curve: int | None
    extra_kinds: tuple[int, ...]
    is_associated: bool
    is_animated: bool


def is_jpegxl(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(len(CONTAINER))
    return head == CONTAINER or head.startswith(CODESTREAM)


def read_jpegxl_header(file: BinaryIO) -> Header:
    """Return the upright size and the channels of a file that passes `is_jpegxl`.

    Raises:
        PictureError: colours other than sRGB, floating point, more than 16 bits, or channels beyond alpha.
    """
    info = _info(file)
    if info.is_float or info.bits > 16:
        kind = "floating-point" if info.is_float else f"{info.bits}-bit"
        raise PictureError(f"is JPEG XL with {kind} samples; convert it to a 16-bit PNG first")
    if info.curve not in (LINEAR, SRGB_CURVE):
        raise PictureError("is JPEG XL with colours other than sRGB; convert it to an sRGB PNG first")
    if info.extra_kinds not in ((), (ALPHA,)):
        raise PictureError("is JPEG XL with channels beyond colour and alpha; convert it to PNG first")
    height, width = (info.width, info.height) if info.orientation >= 5 else (info.height, info.width)
    return Header(height, width, bool(info.extra_kinds), info.is_grey)


def read_jpegxl(file: BinaryIO) -> Picture:
    """Decode the first frame, upright, scaled to 8 or 16 bits; linear light becomes sRGB of 16 bits."""
    import imagecodecs

    info = _info(file)
    file.seek(0)
    decoded = imagecodecs.jpegxl_decode(file.read(), index=0 if info.is_animated else None, numthreads=1)
    dtype = np.uint8 if info.bits <= 8 and info.curve == SRGB_CURVE else np.uint16
    pixels = decoded * (np.iinfo(dtype).max / (2**info.bits - 1))
    pixels = np.rint(pixels).astype(dtype)
    channels = (1 if info.is_grey else 3) + len(info.extra_kinds)
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    if info.extra_kinds and info.is_associated:
        pixels = np.dstack([divided(pixels[..., :-1], pixels[..., -1:]), pixels[..., -1:]])
    colours = channels - len(info.extra_kinds)
    if info.curve == LINEAR:
        pixels[..., :colours] = encoded_as_srgb(pixels[..., :colours])
    note = "is an animation; only the first frame is used" if info.is_animated else None
    exif, xmp, note_on_metadata = read_jpegxl_metadata(file)
    picture = Picture(pixels[..., 0] if channels == 1 else pixels, exif=exif, xmp=kept_xmp(xmp, 1), note=note)
    return picture.with_note(note_on_metadata)


class _Bits:
    """A cursor on the bits of the header, the lowest bit of a byte first."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("its header ends too early")
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        return value

    def flag(self) -> bool:
        return bool(self.take(1))

    def choice(self, *forms: tuple[int, int]) -> int:
        """Return an offset plus as many bits as the chosen one of four forms (offset, bits) has."""
        offset, bits = forms[self.take(2)]
        return offset + self.take(bits)

    def enum(self) -> int:
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))


def _codestream(file: BinaryIO) -> bytes:
    """Return the first bytes of the codestream."""
    file.seek(0)
    head = file.read(LONGEST_HEADER)
    if head.startswith(CODESTREAM):
        return head
    for kind, start, _ in file_boxes(file):
        if kind in (b"jxlc", b"jxlp"):
            file.seek(start + (4 if kind == b"jxlp" else 0))  # a part has a number
            return file.read(LONGEST_HEADER)
    raise ValueError("it holds no codestream")


def _size(bits: _Bits) -> tuple[int, int]:
    sides = ((1, 9), (1, 13), (1, 18), (1, 30))
    small = bits.flag()
    height = 8 * (1 + bits.take(5)) if small else bits.choice(*sides)
    ratio = bits.take(3)
    if ratio:
        across, down = RATIOS[ratio]
        return height, height * across // down
    return height, 8 * (1 + bits.take(5)) if small else bits.choice(*sides)


def _depth(bits: _Bits) -> tuple[int, bool]:
    """Return the bits of a sample, and whether it is floating point."""
    if bits.flag():
        depth = bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
        return depth, True
    return bits.choice((8, 0), (10, 0), (12, 0), (1, 6)), False


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """Return the kind of a channel, and whether the colour is multiplied by it."""
    if bits.flag():
        return ALPHA, False
    kind = bits.enum()
    _depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))  # name
    return kind, kind == ALPHA and bits.flag()


def _curve(bits: _Bits) -> tuple[int | None, bool]:
    """Return the transfer curve, None unless white and primaries are of sRGB, and whether it is grey."""
    if bits.flag():
        return SRGB_CURVE, False
    has_profile, space = bits.flag(), bits.enum()
    is_grey = space == GREY
    if has_profile or space not in (RGB, GREY) or bits.enum() != D65:
        return None, is_grey
    if not is_grey and bits.enum() != SRGB_PRIMARIES:
        return None, is_grey
    return None if bits.flag() else bits.enum(), is_grey


def _info(file: BinaryIO) -> _Info:
    data = _codestream(file)
    if not data.startswith(CODESTREAM):
        raise ValueError("it holds no codestream")
    bits = _Bits(data[2:])
    height, width = _size(bits)
    if bits.flag():  # all is as usual
        return _Info(height, width, 1, 8, False, False, SRGB_CURVE, (), False, False)
    orientation, is_animated = 1, False
    if bits.flag():
        orientation = 1 + bits.take(3)
        if bits.flag():
            _size(bits)
        if bits.flag():
            raise PictureError("is JPEG XL with a preview; convert it to PNG first")
        is_animated = bits.flag()
        if is_animated:
            bits.choice((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.choice((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.choice((0, 0), (0, 3), (0, 16), (0, 32))
            bits.flag()
    depth, is_float = _depth(bits)
    bits.flag()  # buffers
    extra = []
    for _ in range(bits.choice((0, 0), (1, 0), (2, 4), (1, 12))):
        extra.append(_extra_channel(bits))
        if extra[-1][0] != ALPHA:
            raise PictureError("is JPEG XL with channels beyond colour and alpha; convert it to PNG first")
    bits.flag()  # XYB
    curve, is_grey = _curve(bits)
    kinds = tuple(kind for kind, _ in extra)
    associated = any(flag for _, flag in extra)
    return _Info(height, width, orientation, depth, is_float, is_grey, curve, kinds, associated, is_animated)
