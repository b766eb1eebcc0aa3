"""From an encoded picture to the RGB that networks are trained on.

Neither colour management, but for what is not RGB, nor turning by EXIF, as in the published training; TIFF
alone comes upright.
"""

import io

import numpy as np

from moeisr_plugin.pictures import MAX_PIXELS, decode_picture


def decode_rgb(encoded: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes a picture to three channels: grey becomes three equal ones, palettes and CMYK become RGB,
    alpha is dropped.

    Args:
        encoded: the content of a picture file.
        max_pixels: larger pictures are refused before they are decoded.

    Returns:
        (H, W, 3) RGB, uint8, or uint16 where the picture has 16 bits per channel.

    Raises:
        PictureError: damaged, in an unknown format, too large, or neither 8 nor 16 bits per channel; the
            message does not name the file.
    """
    pixels = decode_picture(io.BytesIO(encoded), max_pixels=max_pixels).pixels
    planes = pixels.reshape(*pixels.shape[:2], -1)  # (H, W, C)
    if planes.shape[2] <= 2:
        return np.repeat(planes[..., :1], 3, axis=2)
    return np.ascontiguousarray(planes[..., :3])
