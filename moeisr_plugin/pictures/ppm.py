"""PPM and PGM with more than 8 bits per sample; Pillow reduces PPM to 8 and expands PGM to 32 bits."""

from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile


def is_ppm16(image: Image.Image) -> bool:
    """Return whether a file that Pillow opened but did not load is PPM or PGM with more than 8 bits."""
    return image.format == "PPM" and image.mode in ("RGB", "I") and _largest_sample(image) > 255


def read_ppm16_pixels(file: BinaryIO, image: Image.Image) -> np.ndarray:
    """Decode at full depth and scale the maximum value of the file to 65535.

    Args:
        file: the file.
        image: the same file opened by Pillow, which passes `is_ppm16`. It is loaded to detect incomplete
            files.

    Returns:
        (H, W, 3) or (H, W) uint16.
    """
    import cv2

    largest = _largest_sample(image)  # not available after load()
    image.load()
    file.seek(0)
    data = file.read() + b"\n"  # OpenCV needs a line break after the last number of a plain PPM
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise OSError("OpenCV cannot decode it")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    pixels = np.asarray(pixels, np.uint16)
    if largest == 65535:
        return pixels
    levels = np.rint(np.minimum(np.arange(65536) / largest, 1) * 65535).astype(np.uint16)
    return levels[pixels]


def _largest_sample(image: Image.Image) -> int:
    """Return the maximum value of the file.

    Pillow exposes it only for files that it scales. Mode I without it is a PGM with maximum 65535.
    """
    assert isinstance(image, ImageFile.ImageFile)  # true for every opened file
    arguments = image.tile[0][3]
    if isinstance(arguments, tuple) and isinstance(arguments[1], int):
        return arguments[1]
    return 65535 if image.mode == "I" else 255
