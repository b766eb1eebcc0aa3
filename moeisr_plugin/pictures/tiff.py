"""TIFF: reading 16 bits a sample, and metadata that do not break what they are copied into."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

from .picture import ORIENTATION_TAG, Picture, PictureError, upright

EXIF_IFD, GPS_IFD, ICC_TAG = 34665, 34853, 34675
# Description, maker, model, software, date, artist, copyright: the tags that speak of the picture, not of
# how this file lays it out.
DESCRIPTIVE_TAGS = (270, 271, 272, 305, 306, 315, 33432)
TAGS_OF_OFFSETS = (37500, 40965)  # maker note and interoperability: they point into the file they come from
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Both byte orders, of TIFF and of BigTIFF."""


def is_tiff16(path: Path) -> bool:
    with open(path, "rb") as file:
        if file.read(4) not in MAGIC:
            return False
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages.first.bitspersample == 16


def descriptive_exif(tags: Image.Exif) -> bytes | None:
    """Keeps what the tags of a TIFF file say of the picture, without offsets and sizes, as an EXIF block."""
    kept = Image.Exif()
    for tag, value in descriptive_tags(tags).items():
        kept[tag] = value
    return kept.tobytes().removeprefix(b"Exif\0\0") if len(kept) else None


def descriptive_tags(tags: Image.Exif) -> dict[int, Any]:
    """The tags of an EXIF block or a TIFF file that speak of the picture; the value of an IFD is its tags."""
    kept = {tag: tags[tag] for tag in DESCRIPTIVE_TAGS if tag in tags}
    for ifd in (EXIF_IFD, GPS_IFD):
        entries = {tag: value for tag, value in tags.get_ifd(ifd).items() if tag not in TAGS_OF_OFFSETS}
        if entries:
            kept[ifd] = entries
    return kept


def read_tiff16(path: Path, check_size: Callable[[int, int], None]) -> Picture:
    """Reads the first page of a TIFF with 16 bits a sample, turned upright as Pillow does with 8 bits.

    Args:
        path: a file for which `is_tiff16` holds.
        check_size: called with (width, height) before decoding; raises for what is too large.
    """
    with open(path, "rb") as file, tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        check_size(page.imagewidth, page.imagelength)
        tags = Image.Exif()
        if not tiff.is_bigtiff:
            file.seek(0)
            tags.load_from_fp(file)
        pixels = _plain(path, page, _decode(path, page))
        orientation = page.tags.valueof(ORIENTATION_TAG, 1)
        dpi = page.get_resolution(unit="INCH") if page.tags.get("XResolution") else None
        return Picture(
            upright(pixels, int(orientation)),
            icc_profile=page.tags.valueof(ICC_TAG),
            exif=descriptive_exif(tags),
            dpi=dpi if dpi is None or min(dpi) > 0 else None,
            note=f"has {len(tiff.pages)} pages; only the first is used" if len(tiff.pages) > 1 else None,
        )


def _decode(path: Path, page: tifffile.TiffPage) -> np.ndarray:
    """Decodes into (H, W) or (H, W, C), RGB order."""
    try:
        pixels = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        return _decode_by_opencv(path, page)
    return np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels


def _decode_by_opencv(path: Path, page: tifffile.TiffPage) -> np.ndarray:
    """Decodes what tifffile needs a further package for: LZW above all."""
    data = bytearray(path.read_bytes())
    tag = page.tags.get(ORIENTATION_TAG)
    if tag is not None:  # OpenCV 5 fails on turned TIFF
        data[tag.valueoffset : tag.valueoffset + 2] = np.array(1, page.parent.byteorder + "u2").tobytes()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.size != np.prod(page.shape):
        raise PictureError(f"{path}: cannot decode its compression; save it uncompressed or as PNG")
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _plain(path: Path, page: tifffile.TiffPage, pixels: np.ndarray) -> np.ndarray:
    """Brings any sample layout to grey or RGB, with alpha only where the file calls it that."""
    kinds = {"MINISWHITE": 1, "MINISBLACK": 1, "RGB": 3}
    kind = tifffile.PHOTOMETRIC(page.photometric).name
    if kind not in kinds or pixels.dtype != np.uint16:
        raise PictureError(f"{path}: is a {kind} picture of {pixels.dtype}; convert it to 16-bit RGB first")
    colours = kinds[kind]
    samples = pixels.reshape(*pixels.shape[:2], -1)  # (H, W, C)
    colour = samples[..., :colours]
    if kind == "MINISWHITE":
        colour = 65535 - colour
    extra = page.extrasamples[0] if page.extrasamples else tifffile.EXTRASAMPLE.UNSPECIFIED
    if extra == tifffile.EXTRASAMPLE.UNSPECIFIED:
        return np.squeeze(colour, axis=2) if colours == 1 else colour
    alpha = samples[..., colours : colours + 1]
    if extra == tifffile.EXTRASAMPLE.ASSOCALPHA:
        straight = colour * (65535.0 / np.maximum(alpha, 1))
        colour = np.rint(np.minimum(straight, 65535)).astype(np.uint16)
    return np.concatenate([colour, alpha], axis=2)
