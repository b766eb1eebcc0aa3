"""Conversion to sRGB with the embedded colour profile."""

import io

import numpy as np
from PIL import Image, ImageCms


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Convert a picture to sRGB.

    Args:
        image: a Pillow picture of any mode.
        icc_profile: the profile of its numbers. Without one, or with one of another colour space, CMYK is
            converted as plain complements and Lab as CIE L*a*b* (D50).

    Returns:
        A Pillow picture in mode RGB.
    """
    sources = [] if icc_profile is None else [icc_profile]
    if image.mode == "LAB":
        sources.append(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    for profile in sources:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            assert converted is not None  # only an in-place conversion returns None
            return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            continue
    return image.convert("RGB")


def cmyk_to_srgb(inks: np.ndarray, icc_profile: bytes | None) -> np.ndarray:
    """Return sRGB (H, W, 3) of inks (H, W, 4), uint8, 255 being full ink."""
    return _converted("CMYK", inks, icc_profile)


def lab_to_srgb(lab: np.ndarray, icc_profile: bytes | None) -> np.ndarray:
    """Return sRGB (H, W, 3) of Lab (H, W, 3), bytes, a* and b* in two's complement."""
    return _converted("LAB", lab, icc_profile)


def encoded_as_srgb(linear: np.ndarray) -> np.ndarray:
    """Apply the sRGB curve (IEC 61966-2-1) to linear uint16 of any shape."""
    light = np.arange(65536) / 65535
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(curve * 65535).astype(np.uint16)[linear]


def _converted(mode: str, samples: np.ndarray, icc_profile: bytes | None) -> np.ndarray:
    height, width = samples.shape[:2]
    image = Image.frombytes(mode, (width, height), np.ascontiguousarray(samples).tobytes())
    return np.asarray(to_srgb(image, icc_profile))
