"""Conversions between colour spaces, through the embedded profile where there is one."""

import io

from PIL import Image, ImageCms


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Converts a picture to sRGB.

    Args:
        image: a Pillow picture of any mode.
        icc_profile: the profile that its numbers refer to; None, or one that does not fit the mode, leaves
            Pillow's plain conversion.

    Returns:
        A Pillow picture in mode RGB.
    """
    if icc_profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            assert converted is not None  # only an in-place conversion gives None
            return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return image.convert("RGB")
