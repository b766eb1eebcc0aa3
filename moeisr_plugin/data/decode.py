"""Decoding a picture to the RGB that networks are trained on.

As in the published training, RGB is not colour managed and the EXIF orientation is ignored. Exceptions: other
colour spaces are converted to sRGB, and TIFF is turned upright. Damage inside the data of a JPEG is not
looked for, because a sample would take several times as long.
"""

import io

import numpy as np

from moeisr_plugin.pictures import MAX_PIXELS, decode_picture


def decode_rgb(encoded: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a picture to RGB: repeat grey three times, convert palettes and CMYK, drop alpha.

    Args:
        encoded: the content of a picture file.
        max_pixels: refuse larger pictures before decoding.

    Returns:
        (H, W, 3) RGB; uint16 for 16 bits per channel, else uint8.

    Raises:
        PictureError: the picture is damaged, too large, of an unknown format, or has neither 8 nor 16 bits
            per channel. The message does not name the file.
    """
    pixels = decode_picture(io.BytesIO(encoded), max_pixels=max_pixels, check_jpeg=False).pixels
    planes = pixels.reshape(*pixels.shape[:2], -1)  # (H, W, C)
    if planes.shape[2] <= 2:
        return np.repeat(planes[..., :1], 3, axis=2)
    return np.ascontiguousarray(planes[..., :3])
