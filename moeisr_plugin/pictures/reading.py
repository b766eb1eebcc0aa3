"""Reading a picture with its full depth, colour profile and EXIF block."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .colour import to_srgb
from .picture import Picture, PictureError
from .png import is_png16, read_png16_pixels
from .tiff import descriptive_exif, is_tiff16, read_tiff16

MAX_PIXELS = 2**28
"""Largest picture read unless told otherwise: 268 megapixels, 0.8 GB as 8-bit RGB."""

PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".avif", ".jp2"}
)
"""The files of a folder that are taken for pictures."""

EXIF_PREFIX = b"Exif\0\0"
PLAIN_MODE = {"1": "L", "La": "LA", "P": "RGB", "PA": "RGBA", "RGBX": "RGB", "RGBa": "RGBA", "YCbCr": "RGB"}


def read_picture(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads the first frame of a picture file.

    8- and 16-bit grey and RGB, each with or without alpha, come as stored. 1-bit becomes grey, palettes
    become RGB(A), CMYK and Lab become sRGB through their profile. TIFF comes upright, all else with its
    EXIF orientation untouched.

    Args:
        path: the file; what it holds decides, not its suffix.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        PictureError: the file is missing, empty, damaged, no picture, too large or of an unknown layout.
    """
    path = Path(path)
    with _errors_name(path):
        if path.stat().st_size == 0:
            raise PictureError(f"{path}: is empty; replace it by a picture")
        if is_tiff16(path):
            return read_tiff16(path, lambda width, height: _check_size(path, width, height, max_pixels))
        with _open(path) as image:
            _check_size(path, *image.size, max_pixels)
            if is_png16(path):
                return _describe(image, read_png16_pixels(path, image))
            return _read_by_pillow(path, image)


def _read_by_pillow(path: Path, image: Image.Image) -> Picture:
    exif = descriptive_exif(image.getexif()) if image.format == "TIFF" else None
    image.load()
    if image.mode in ("CMYK", "LAB"):
        pixels = np.asarray(to_srgb(image, image.info.pop("icc_profile", None)))
    elif image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16)
    else:
        mode = PLAIN_MODE.get(image.mode, image.mode)
        if "transparency" in image.info:
            mode = "LA" if mode == "L" else "RGBA"
        if mode not in ("L", "LA", "RGB", "RGBA"):
            raise PictureError(f"{path}: has pixels of type {mode}; convert it to an 8- or 16-bit PNG first")
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return _describe(image, pixels, exif=exif)


def _describe(image: Image.Image, pixels: np.ndarray, *, exif: bytes | None = None) -> Picture:
    """Puts what Pillow knows of a decoded file around its pixels."""
    if exif is None and "exif" in image.info:
        exif = image.info["exif"].removeprefix(EXIF_PREFIX)
    elif exif is None and image.format == "PNG" and len(image.getexif()):
        exif = image.getexif().tobytes().removeprefix(EXIF_PREFIX)  # kept as text by older writers
    frames = getattr(image, "n_frames", 1)
    # The further frames of an MPO are a camera's previews and gain maps, which nobody calls frames.
    note = f"has {frames} frames; only the first is used" if frames > 1 and image.format != "MPO" else None
    dpi = image.info.get("dpi")
    if dpi is not None:
        dpi = (float(dpi[0]), float(dpi[1]))
        dpi = dpi if min(dpi) > 0 and np.isfinite(dpi).all() else None
    return Picture(pixels, image.info.get("icc_profile") or None, exif or None, dpi, note)


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureError(
            f"{path}: {width}x{height} is more than the limit of {max_pixels} pixels; raise max_pixels "
            "(--max-pixels on the command line) if you trust the file"
        )


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Opens a file by Pillow with its own size limit, which cannot be passed as an argument, lifted."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    try:
        yield
    except (PictureError, MemoryError):
        raise
    except FileNotFoundError:
        raise PictureError(f"{path}: there is no such file; check the name") from None
    except PermissionError:
        raise PictureError(f"{path}: may not be read; check its permissions") from None
    except IsADirectoryError:
        raise PictureError(f"{path}: is a folder; name a picture in it") from None
    except UnidentifiedImageError:
        raise PictureError(f"{path}: is not a picture of a known format; convert it to PNG first") from None
    except Exception as error:  # decoders raise about anything on damaged data
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"{path}: is damaged or incomplete ({reason}); copy or export it again") from error
