"""PPM of 16 bits a sample, which Pillow cuts to 8."""

from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageFile


def is_ppm16(image: Image.Image) -> bool:
    """Whether a file that Pillow has opened but not loaded is RGB of more than 8 bits a sample."""
    return image.format == "PPM" and image.mode == "RGB" and _largest_sample(image) > 255


def read_ppm16_pixels(file: BinaryIO, image: Image.Image) -> np.ndarray:
    """Decodes at full depth, white being 65535 whatever the file's own largest sample.

    Args:
        file: the file.
        image: the same file as opened by Pillow, one for which `is_ppm16` holds; it is loaded on return, for
            Pillow notices an incomplete file.

    Returns:
        (H, W, 3) uint16.
    """
    largest = _largest_sample(image)  # loading forgets it
    image.load()
    file.seek(0)
    data = file.read() + b"\n"  # OpenCV wants one after the last number of a plain PPM
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise OSError("OpenCV cannot decode it")
    rgb = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint16)
    if largest == 65535:
        return rgb
    levels = np.rint(np.minimum(np.arange(65536) / largest, 1) * 65535).astype(np.uint16)
    return levels[rgb]


def _largest_sample(image: Image.Image) -> int:
    """What white is stored as; Pillow tells it only for files that it has to scale."""
    assert isinstance(image, ImageFile.ImageFile)  # as whatever Pillow opens
    arguments = image.tile[0][3]
    return arguments[1] if isinstance(arguments, tuple) and isinstance(arguments[1], int) else 255
