"""PNG with 16 bits a sample, which Pillow cuts to 8."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from .picture import Picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of channels; PNG 1.2, section 4.1.1
SUB, UP = 1, 2
METRES_PER_INCH = 0.0254


def is_png16(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(25)
    return head.startswith(SIGNATURE) and head[24:] == b"\x10"


def read_png16_pixels(path: Path, image: Image.Image) -> np.ndarray:
    """Decodes at full depth.

    Args:
        path: a file for which `is_png16` holds.
        image: the same file as opened by Pillow, whose check of every chunk comes first: OpenCV gives
            black rows for some incomplete files. Its metadata are loaded on return.

    Returns:
        (H, W) or (H, W, 2 | 3 | 4) uint16.
    """
    image.load()
    data = np.fromfile(path, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise OSError("OpenCV cannot decode it")
    if pixels.ndim == 2:
        key = image.info.get("transparency")
        return pixels if key is None else np.dstack([pixels, np.where(pixels == key, 0, 65535)]).astype("u2")
    if data[25] == COLOUR_TYPE[2]:
        return np.ascontiguousarray(pixels[..., [0, 3]])
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def write_png16(file: BinaryIO, picture: Picture) -> None:
    """Writes every channel layout of a uint16 picture, with its profile, EXIF block and resolution."""
    height, width = picture.pixels.shape[:2]
    samples = picture.pixels.reshape(height, width, -1)  # (H, W, C)
    channels = samples.shape[2]
    file.write(SIGNATURE)
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPE[channels], 0, 0, 0))
    if picture.icc_profile is not None:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.icc_profile))
    if picture.dpi is not None:
        per_metre = [round(dpi / METRES_PER_INCH) for dpi in picture.dpi]
        _chunk(file, b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if picture.exif is not None:
        _chunk(file, b"eXIf", picture.exif)
    deflate = zlib.compressobj()
    for row in _filtered_rows(samples):
        if data := deflate.compress(row):
            _chunk(file, b"IDAT", data)
    _chunk(file, b"IDAT", deflate.flush())
    _chunk(file, b"IEND", b"")


def _filtered_rows(samples: np.ndarray) -> Iterator[bytes]:
    """Gives each row as its difference to the left or to the row above, whichever is smaller (PNG 9.6)."""
    height, width, channels = samples.shape
    stride = 2 * channels
    above = np.zeros(width * stride, np.uint8)
    for y in range(height):
        row = np.frombuffer(samples[y].astype(">u2").tobytes(), np.uint8)  # (W * 2C,)
        left = np.concatenate([np.zeros(stride, np.uint8), row[:-stride]])
        differences = {SUB: row - left, UP: row - above}
        best = min(differences, key=lambda kind: np.abs(differences[kind].view(np.int8).astype(int)).sum())
        yield bytes([best]) + differences[best].tobytes()
        above = row


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
