"""PAM (P7), which Pillow does not read: grey or RGB of up to 16 bits, with or without alpha."""

import math
from typing import BinaryIO, NamedTuple

import numpy as np

from .picture import Header, Picture, PictureError

MAGIC = b"P7\n"
LONGEST_HEADER = 4096
CHANNELS = {"BLACKANDWHITE": 1, "GRAYSCALE": 1, "GRAYSCALE_ALPHA": 2, "RGB": 3, "RGB_ALPHA": 4}
CHANNELS |= {"BLACKANDWHITE_ALPHA": 2}
UNNAMED = {1: "GRAYSCALE", 2: "GRAYSCALE_ALPHA", 3: "RGB", 4: "RGB_ALPHA"}


class _Layout(NamedTuple):
    shape: tuple[int, int, int]  # (H, W, C)
    largest: int
    start: int


def is_pam(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(3) == MAGIC


def read_pam_header(file: BinaryIO) -> Header:
    """Return the size and the channels of a file that passes `is_pam`.

    Raises:
        PictureError: another tuple type, or values above 65535.
    """
    (height, width, channels), _, _ = _layout(file)
    return Header(height, width, channels in (2, 4), channels <= 2)


def read_pam(file: BinaryIO) -> Picture:
    """Decode; the largest value of the file becomes 255 or 65535.

    Raises:
        ValueError: the data end too early, or a sample is larger than the largest value.
    """
    shape, largest, start = _layout(file)
    file.seek(start)
    stored = np.dtype(np.uint8 if largest < 256 else ">u2")
    data = file.read(math.prod(shape) * stored.itemsize)
    samples = np.frombuffer(data, stored).reshape(shape)  # (H, W, C)
    if samples.max() > largest:
        raise ValueError("a sample is larger than MAXVAL")
    dtype = np.uint8 if largest < 256 else np.uint16
    pixels = np.rint(samples * (np.iinfo(dtype).max / largest)).astype(dtype)
    return Picture(pixels[..., 0] if shape[2] == 1 else pixels)


def _layout(file: BinaryIO) -> _Layout:
    file.seek(0)
    head, end, _ = file.read(LONGEST_HEADER).partition(b"\nENDHDR\n")
    if not end:
        raise ValueError("its header has no end")
    lines = head.decode("ascii", "replace").splitlines()[1:]
    fields = dict(line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))
    height, width, depth, largest = (int(fields[key]) for key in ("HEIGHT", "WIDTH", "DEPTH", "MAXVAL"))
    kind = fields.get("TUPLTYPE", UNNAMED.get(depth, "")).strip()
    if CHANNELS.get(kind) != depth or not 0 < largest < 65536:
        raise PictureError(
            f"is a PAM of type {kind or 'unknown'} with {depth} channels up to {largest}; convert it to PNG"
        )
    if height < 1 or width < 1:
        raise ValueError("its header has no size")
    return _Layout((height, width, depth), largest, len(head) + len(end))
