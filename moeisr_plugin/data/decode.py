"""From an encoded picture to its RGB pixels as stored.

No colour management and no turning by EXIF, as in the published training (TIFF alone is turned by Pillow).
"""

import io
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

_BITS_PER_SAMPLE = 258  # TIFF tag


class Header(NamedTuple):
    """What a picture's first bytes tell."""

    height: int
    width: int
    has_alpha: bool


def read_header(file: str | BinaryIO) -> Header:
    """Reads the size of a picture without decoding it.

    Raises:
        ValueError: not a picture in a known format.
    """
    try:
        with Image.open(file) as image:
            return Header(image.height, image.width, image.has_transparency_data)
    except UnidentifiedImageError:
        raise ValueError("not a picture in a known format; replace or remove it") from None


def decode_rgb(encoded: bytes) -> np.ndarray:
    """Decodes a picture to three channels: grey becomes three equal ones, palettes and CMYK become RGB,
    alpha is dropped.

    Args:
        encoded: the content of a PNG, JPEG, WebP, BMP or TIFF file.

    Returns:
        (H, W, 3) RGB, uint8, or uint16 where the picture has 16 bits per channel.

    Raises:
        ValueError: damaged, in an unknown format, or neither 8 nor 16 bits per channel.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            bits = _bits_per_channel(image, encoded)
            if bits > 16:
                raise ValueError(f"{bits} bits per channel; convert it to 8 or 16")
            if bits == 16:
                return _decode_16_bit(encoded)
            # Through RGBA, because Pillow warns of some transparent palettes on the direct way.
            opaque = image.convert("RGBA") if image.has_transparency_data else image
            return np.array(opaque.convert("RGB"))
    except UnidentifiedImageError:
        raise ValueError("not a picture in a known format; replace or remove it") from None
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # Pillow raises SyntaxError, OSError, struct.error, ... on damaged pictures
        raise ValueError(f"damaged picture ({error}); replace or remove it") from error


def _bits_per_channel(image: Image.Image, encoded: bytes) -> int:
    """The depth as stored, which Pillow's mode hides: it opens 16-bit RGB as 8-bit."""
    if image.format == "PNG":
        return encoded[24]  # PNG specification, IHDR: signature 8, length 4, type 4, width 4, height 4
    if image.format == "TIFF":
        return int(np.max(image.getexif().get(_BITS_PER_SAMPLE, 1)))  # one number, or one per channel
    return 8


def _decode_16_bit(encoded: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("damaged picture, or 16 bits in an unknown layout; save it as PNG")
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])  # BGR or BGRA
