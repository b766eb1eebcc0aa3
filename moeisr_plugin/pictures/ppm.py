"""PPM and PGM of more than 8 bits a sample: Pillow cuts the former to 8 and makes 32 of the latter."""

from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageFile


def is_ppm16(image: Image.Image) -> bool:
    """Whether a file that Pillow has opened but not loaded is PPM or PGM of more than 8 bits."""
    return image.format == "PPM" and image.mode in ("RGB", "I") and _largest_sample(image) > 255


def read_ppm16_pixels(file: BinaryIO, image: Image.Image) -> np.ndarray:
    """Decodes at full depth, white being 65535 whatever the file's own largest sample.

    Args:
        file: the file.
        image: the same file as opened by Pillow, one for which `is_ppm16` holds; it is loaded on return, for
            Pillow notices an incomplete file.

    Returns:
        (H, W, 3) or (H, W) uint16.
    """
    largest = _largest_sample(image)  # loading forgets it
    image.load()
    file.seek(0)
    data = file.read() + b"\n"  # OpenCV wants one after the last number of a plain PPM
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
    """What white is stored as; Pillow tells it only for files that it has to scale.

    It makes 32 bits of grey for none but PGM of more than 8.
    """
    assert isinstance(image, ImageFile.ImageFile)  # as whatever Pillow opens
    arguments = image.tile[0][3]
    if isinstance(arguments, tuple) and isinstance(arguments[1], int):
        return arguments[1]
    return 65535 if image.mode == "I" else 255
