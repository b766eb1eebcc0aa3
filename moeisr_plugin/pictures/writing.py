"""Writing a picture: no half file, no silent loss."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from moeisr_plugin.atomic import appearing_whole

from .colour import to_srgb
from .picture import Picture, PictureError, upright
from .png16 import write_png16
from .tiff import write_tiff


@dataclass(frozen=True)
class Format:
    """What a file format can hold, and Pillow's name and options for it."""

    name: str
    options: dict[str, Any]
    alpha: bool = True
    deep: bool = False
    metadata: bool = True


# `exact` keeps the colour under transparent pixels; without `subsampling=0` JPEG halves the colour planes.
FORMATS = {
    "png": Format("PNG", {}, deep=True),
    "jpg": Format("JPEG", {"quality": 95, "subsampling": 0}, alpha=False),
    "webp": Format("WEBP", {"lossless": True, "exact": True}),
    "tiff": Format("TIFF", {}, deep=True),
    "bmp": Format("BMP", {}, alpha=False, metadata=False),
}
ALIASES = {"jpeg": "jpg", "tif": "tiff"}
WRITABLE = tuple(FORMATS)
"""The suffixes, without the dot, of the formats that `write_picture` knows."""


def picture_format(path: str | Path) -> str:
    """The format that a file name asks for, one of `WRITABLE`.

    Raises:
        PictureError: the suffix is none that can be written.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    suffix = ALIASES.get(suffix, suffix)
    if suffix not in FORMATS:
        raise PictureError(f"{path}: cannot write this format; end the name in .{', .'.join(FORMATS)}")
    return suffix


def check_holds(path: str | Path, picture: Picture) -> None:
    """Raises `PictureError` if the format of `path` cannot hold the depth or the alpha of `picture`."""
    form = FORMATS[picture_format(path)]
    if picture.has_alpha and not form.alpha:
        raise PictureError(f"{path}: {form.name} cannot hold transparency; choose .png")
    if picture.pixels.dtype == np.uint16 and not form.deep:
        raise PictureError(f"{path}: {form.name} cannot hold 16 bits a sample; choose .png or .tiff")


def write_picture(path: str | Path, picture: Picture) -> None:
    """Writes a picture with its profile, EXIF block and resolution; the suffix chooses the format.

    JPEG is written at quality 95, WebP without loss. BMP holds no metadata: its pixels are turned upright
    and converted to sRGB. The file appears complete or not at all.

    Raises:
        PictureError: unknown suffix, a format that cannot hold the picture, or a failing disk.
    """
    path = Path(path)
    check_holds(path, picture)
    form = FORMATS[picture_format(path)]
    try:
        with appearing_whole(path) as file:
            _encode(file, picture, form)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(
            f"{path}: cannot be written ({reason}); check the folder, or choose .png"
        ) from error


def _encode(file: BinaryIO, picture: Picture, form: Format) -> None:
    if form.name == "TIFF":
        write_tiff(file, picture)
    elif picture.pixels.dtype == np.uint16:
        write_png16(file, picture)
    else:
        if not form.metadata:
            picture = _bare(picture)
        metadata = {
            "icc_profile": picture.icc_profile,
            "exif": _exif_block(picture, form),
            "dpi": picture.dpi,
        }
        given = {key: value for key, value in metadata.items() if value is not None}
        Image.fromarray(picture.pixels).save(file, form.name, **form.options, **given)


def _exif_block(picture: Picture, form: Format) -> bytes | None:
    if picture.exif is None:
        return None
    return b"Exif\0\0" + picture.exif if form.name == "JPEG" else picture.exif


def _bare(picture: Picture) -> Picture:
    """Puts into the pixels what the profile and the orientation say of them."""
    pixels = upright(picture.pixels, picture.orientation)
    if picture.icc_profile is not None:
        pixels = np.asarray(to_srgb(Image.fromarray(pixels), picture.icc_profile))
    return replace(picture, pixels=pixels, icc_profile=None, exif=None)
