"""Writing a picture atomically, whole or in bands; content that a format cannot hold is refused."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from moeisr_plugin.utils.atomic import atomic_write
from moeisr_plugin.utils.shortage import DiskShortageError, memory_shortage

from .colour import to_srgb
from .picture import ORIENTATION_TAG, Picture, PictureError, upright
from .png import write_png
from .row_bands import check_bands, join_bands
from .tiff_tiles import write_tiff
from .xmp import LONGEST_IN_JPEG


@dataclass(frozen=True)
class Format:
    """Limits of a file format, and its writer: a function of bands, or Pillow with `options`.

    With a quality, Pillow is given `lossy` in place of `options`. None means that the format has no quality.
    """

    name: str
    longest_side: int
    band_writer: Callable[..., None] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    lossy: dict[str, Any] | None = None
    alpha: bool = True
    deep: bool = False
    metadata: bool = True
    finest_dpi: float = math.inf


LONGEST_SIDE = 1_000_000
"""Limit for formats without a smaller one: libpng refuses longer sides, and the width bounds the memory."""

FULL_COLOUR = {"subsampling": "4:4:4"}
"""Options that keep the resolution of the colour planes."""

# `exact` keeps the colour of transparent pixels. Decoders of AVIF refuse longer sides unless configured.
WRITABLE_FORMATS = {
    "png": Format("PNG", LONGEST_SIDE, write_png, deep=True),
    "jpg": Format(
        "JPEG",
        65500,
        options={"quality": 95, **FULL_COLOUR},
        lossy=FULL_COLOUR,
        alpha=False,
        finest_dpi=65535,
    ),
    "webp": Format("WEBP", 16383, options={"lossless": True, "exact": True}, lossy={"exact": True}),
    "avif": Format("AVIF", 32768, options={"quality": 90, **FULL_COLOUR}, lossy=FULL_COLOUR),
    "tiff": Format("TIFF", LONGEST_SIDE, write_tiff, deep=True),
    "bmp": Format("BMP", LONGEST_SIDE, alpha=False, metadata=False),
}
ALIASES = {"jpeg": "jpg", "tif": "tiff"}
"""Other names of formats."""
WRITABLE = tuple(WRITABLE_FORMATS)
"""The suffixes, without the dot, of the formats that can be written."""


def picture_format(path: str | Path) -> str:
    """Return the format for the suffix of a file name, one of `WRITABLE`.

    Raises:
        PictureError: pictures with this suffix cannot be written.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    suffix = ALIASES.get(suffix, suffix)
    if suffix not in WRITABLE_FORMATS:
        raise PictureError(
            f"{path}: cannot write this format; end the name in .{', .'.join(WRITABLE_FORMATS)}"
        )
    return suffix


def writes_in_bands(path: str | Path) -> bool:
    """Return whether the format of `path` is written band by band, without the whole picture in memory."""
    return WRITABLE_FORMATS[picture_format(path)].band_writer is not None


def holds_16_bits(path: str | Path) -> bool:
    """Return whether the format of `path` holds 16 bits per sample."""
    return WRITABLE_FORMATS[picture_format(path)].deep


def has_quality(path: str | Path) -> bool:
    """Return whether the format of `path` can be written with a quality."""
    return WRITABLE_FORMATS[picture_format(path)].lossy is not None


def check_format_fits(path: str | Path, like: Picture, size: tuple[int, int]) -> None:
    """Check that a picture can be written.

    Raises:
        PictureError: the format of `path` cannot hold the depth or alpha of `like`, or (H, W), or this
            Pillow lacks the format.
    """
    form = WRITABLE_FORMATS[picture_format(path)]
    if form.band_writer is None and not _pillow_writes(form):
        raise PictureError(
            f"{path}: this Pillow cannot write {form.name}; run pip install --upgrade pillow, or choose .png"
        )
    if like.has_alpha and not form.alpha:
        raise PictureError(f"{path}: {form.name} cannot hold transparency; choose .png")
    if like.pixels.dtype == np.uint16 and not form.deep:
        raise PictureError(f"{path}: {form.name} cannot hold 16 bits per sample; choose .png or .tiff")
    if max(size) > form.longest_side:
        remedy = "a smaller size" if form.longest_side == LONGEST_SIDE else "a smaller size, .png or .tiff"
        raise PictureError(
            f"{path}: a side of {max(size)} pixels is more than the {form.longest_side} of {form.name}; "
            f"choose {remedy}"
        )


def lost_metadata(path: str | Path, like: Picture) -> str | None:
    """Return a line on the EXIF and XMP that the format of `path` cannot hold, or None."""
    form = WRITABLE_FORMATS[picture_format(path)]
    has_tags = any(tag != ORIENTATION_TAG for tag in like.exif_tags())
    lost = [name for name, is_there in (("EXIF", has_tags), ("XMP", like.xmp is not None)) if is_there]
    if lost and not form.metadata:
        return f"has {' and '.join(lost)}, which {form.name} does not hold; png, tiff, jpg, webp and avif do"
    if _xmp(like, form) != like.xmp:
        return f"has XMP that is too long for {form.name}; png, tiff, webp and avif hold it"
    return None


def _pillow_writes(form: Format) -> bool:
    Image.init()
    return form.name in Image.SAVE


def write_picture(path: str | Path, picture: Picture) -> None:
    """Write a picture atomically with its profile, EXIF block and resolution. The suffix decides the format.

    JPEG has quality 95, AVIF 90, and WebP is lossless. BMP has no metadata: its pixels are turned upright and
    converted to sRGB.

    Raises:
        PictureError: unknown suffix, a format that cannot hold the picture, or a disk error.
    """
    height, width = picture.pixels.shape[:2]
    write_bands(path, [picture.pixels], like=picture, size=(height, width))


def write_bands(
    path: str | Path,
    bands: Iterable[np.ndarray],
    *,
    like: Picture,
    size: tuple[int, int],
    quality: int | None = None,
) -> None:
    """Write a picture from bands of rows, like `write_picture`.

    Memory does not depend on the height: one band for PNG, one band and two rows of tiles for TIFF. Other
    formats need the whole picture in memory.

    Args:
        path: the file.
        bands: (N, W) or (N, W, C) from the top, any N, H rows in total.
        like: source of the bit depth, the channels and the metadata; its size does not matter.
        size: (H, W).
        quality: from 1 to 100, for formats that have one. WebP is then lossy.

    Raises:
        PictureError: see `write_picture`, or the bands do not add up to the picture.
        Exception: any exception of the iterator `bands`.
    """
    path = Path(path)
    check_format_fits(path, like, size)
    form = WRITABLE_FORMATS[picture_format(path)]
    bands = _Bands(bands)
    try:
        with atomic_write(path) as file:
            if form.band_writer is None:
                pixels = join_bands(bands, like=like.pixels, size=size)
                _write_by_pillow(file, replace(like, pixels=pixels), form, quality)
            else:
                form.band_writer(file, check_bands(bands, like=like.pixels, size=size), like=like, size=size)
    except DiskShortageError as error:
        raise PictureError(str(error)) from error
    except (OSError, ValueError) as error:
        if error is bands.error or memory_shortage(error):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(
            f"{path}: cannot be written ({reason}); check the folder, or choose .png"
        ) from error


class _Bands(Iterator[np.ndarray]):
    """Iterator of bands that records its exception, to tell it from an error in writing."""

    def __init__(self, bands: Iterable[np.ndarray]) -> None:
        self.error: Exception | None = None
        self._bands = iter(bands)

    def __next__(self) -> np.ndarray:
        try:
            return next(self._bands)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


def _write_by_pillow(file: BinaryIO, picture: Picture, form: Format, quality: int | None) -> None:
    if not form.metadata:
        picture = _apply_metadata(picture)
    metadata = {
        "icc_profile": picture.icc_profile,
        "exif": _exif_block(picture, form),
        "dpi": _dpi(picture, form),
        "xmp": _xmp(picture, form),
    }
    given = {key: value for key, value in metadata.items() if value is not None}
    options = form.options if quality is None or form.lossy is None else {**form.lossy, "quality": quality}
    Image.fromarray(picture.pixels).save(file, form.name, **options, **given)


def _dpi(picture: Picture, form: Format) -> tuple[float, float] | None:
    """Return the resolution, or None if the format cannot store it; Pillow would write a wrong one."""
    return picture.dpi if picture.dpi is not None and max(picture.dpi) <= form.finest_dpi else None


def _xmp(picture: Picture, form: Format) -> bytes | None:
    """Return the XMP packet, or None if the format cannot hold it."""
    fits = picture.xmp is None or form.name != "JPEG" or len(picture.xmp) <= LONGEST_IN_JPEG
    return picture.xmp if fits else None


def _exif_block(picture: Picture, form: Format) -> bytes | None:
    if picture.exif is None:
        return None
    return b"Exif\0\0" + picture.exif if form.name == "JPEG" else picture.exif


def _apply_metadata(picture: Picture) -> Picture:
    """Apply the orientation and the profile to the pixels, and remove both."""
    pixels = upright(picture.pixels, picture.orientation)
    if picture.icc_profile is not None:
        pixels = np.asarray(to_srgb(Image.fromarray(pixels), picture.icc_profile))
    return replace(picture, pixels=pixels, icc_profile=None, exif=None, xmp=None)
