"""Conversion to sRGB with the embedded colour profile."""

import io

from PIL import Image, ImageCms


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Convert a picture to sRGB.

    Args:
        image: a Pillow picture of any mode.
        icc_profile: its colour profile. Without one, or if it does not fit the mode, Pillow converts without
            colour management.

    Returns:
        A Pillow picture in mode RGB.
    """
    if icc_profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            assert converted is not None  # only an in-place conversion returns None
            return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return image.convert("RGB")
