"""TIFF: reading 16 bits per sample, and selecting metadata that can be copied to another file."""

import logging
from collections.abc import Mapping
from typing import Any, BinaryIO

import cv2
import numpy as np
import tifffile
from PIL import Image

from .picture import ORIENTATION_TAG, Header, Picture, PictureError, plausible_dpi, upright

EXIF_IFD, GPS_IFD, ICC_TAG = 34665, 34853, 34675
X_RESOLUTION_TAG, RESOLUTION_UNIT_TAG = 282, 296
INCH, CENTIMETRE = 2, 3
# Description, maker, model, software, date, artist, copyright. Other tags describe the layout of the file.
DESCRIPTIVE_TAGS = (270, 271, 272, 305, 306, 315, 33432)
TAGS_OF_OFFSETS = (37500, 40965)  # maker note and interoperability contain offsets into their file
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Both byte orders, of TIFF and of BigTIFF."""

# Without a handler tifffile prints many warnings to stderr for a damaged file, besides our one-line error.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

COLOURS = {"MINISWHITE": 1, "MINISBLACK": 1, "RGB": 3}
"""Number of colours of each supported photometric interpretation."""
MAX_SAMPLES = 8
"""Largest number of samples per pixel; bounds the memory."""


class _Latin1(str):
    """Text that Pillow writes as Latin-1. Pillow reads tags as Latin-1, but writes ASCII.

    `bytes` would change the type of tags that Pillow does not know.
    """

    def encode(self, encoding: str = "latin-1", errors: str = "strict") -> bytes:
        return super().encode("latin-1", errors)


def is_tiff16(file: BinaryIO) -> bool:
    file.seek(0)
    if file.read(4) not in MAGIC:
        return False
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        return tiff.pages.first.bitspersample == 16


def read_tiff16_header(file: BinaryIO) -> Header:
    """Read the header of a file that passes `is_tiff16`; height and width are those of the upright picture.

    Raises:
        PictureError: the layout is not supported.
    """
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        kind, area = tifffile.PHOTOMETRIC(page.photometric).name, page.imagewidth * page.imagelength
        if kind not in COLOURS or page.dtype != np.uint16 or page.size > MAX_SAMPLES * area:
            raise PictureError(
                f"is a {kind} picture of {page.dtype} with {page.samplesperpixel} samples per pixel; "
                "convert it to 16-bit RGB first"
            )
        if COLOURS[kind] == 1 and page.samplesperpixel > 2:
            raise PictureError(
                f"has {page.samplesperpixel} bands, but is not tagged as RGB; export it as RGB"
            )
        has_alpha = _extra_sample(page) != tifffile.EXTRASAMPLE.UNSPECIFIED
        height, width = page.imagelength, page.imagewidth
        if _orientation(page) >= 5:
            height, width = width, height
        return Header(height, width, has_alpha, is_grey=COLOURS[kind] == 1)


def states_dpi(tags: Mapping[int, Any]) -> bool:
    """Return whether the tags of a TIFF file give an absolute resolution, not only an aspect ratio."""
    return X_RESOLUTION_TAG in tags and tags.get(RESOLUTION_UNIT_TAG, INCH) in (INCH, CENTIMETRE)


def descriptive_exif(tags: Image.Exif) -> bytes | None:
    """Return the `descriptive_tags` as an EXIF block, or None if there are none."""
    kept = Image.Exif()
    for tag, value in descriptive_tags(tags).items():
        kept[tag] = value
    return kept.tobytes().removeprefix(b"Exif\0\0") if len(kept) else None


def descriptive_tags(tags: Image.Exif) -> dict[int, Any]:
    """Select the tags of EXIF or TIFF that describe the picture; the value of an IFD is a dict of tags."""
    kept = {tag: _writable(tags[tag]) for tag in DESCRIPTIVE_TAGS if tag in tags}
    for ifd in (EXIF_IFD, GPS_IFD):
        entries = {
            tag: _writable(value) for tag, value in tags.get_ifd(ifd).items() if tag not in TAGS_OF_OFFSETS
        }
        if entries:
            kept[ifd] = entries
    return kept


def _writable(value: Any) -> Any:
    """Return the value of a tag in a type that Pillow writes unchanged."""
    return _Latin1(value) if isinstance(value, str) else value


def read_tiff16(file: BinaryIO) -> Picture:
    """Read the first page of a TIFF with 16 bits per sample, turned upright as Pillow does with 8 bits.

    Args:
        file: a file that `read_tiff16_header` accepts.
    """
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        tags = Image.Exif()
        if not tiff.is_bigtiff:
            file.seek(0)
            tags.load_from_fp(file)
        pixels = _plain(page, _decode(file, page))
        stated = states_dpi({tag.code: tag.value for tag in page.tags})
        dpi = page.get_resolution(unit="INCH") if stated else None
        return Picture(
            upright(pixels, _orientation(page)),
            icc_profile=page.tags.valueof(ICC_TAG),
            exif=descriptive_exif(tags),
            dpi=plausible_dpi(dpi),
            note=f"has {len(tiff.pages)} pages; only the first is used" if len(tiff.pages) > 1 else None,
        )


def _orientation(page: tifffile.TiffPage) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if the tag is missing or invalid."""
    value = page.tags.valueof(ORIENTATION_TAG, 1)
    return value if value in range(1, 9) else 1


def _extra_sample(page: tifffile.TiffPage) -> int:
    """Return the meaning of the first sample after the colours."""
    return page.extrasamples[0] if page.extrasamples else tifffile.EXTRASAMPLE.UNSPECIFIED


def _decode(file: BinaryIO, page: tifffile.TiffPage) -> np.ndarray:
    """Decode to (H, W) or (H, W, C), in RGB order."""
    try:
        pixels = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        return _decode_by_opencv(file, page)
    return np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels


def _decode_by_opencv(file: BinaryIO, page: tifffile.TiffPage) -> np.ndarray:
    """Decode compressions, mainly LZW, for which tifffile needs the package imagecodecs."""
    file.seek(0)
    data = bytearray(file.read())
    tag = page.tags.get(ORIENTATION_TAG)
    if tag is not None:  # OpenCV 5 fails on rotated TIFF
        data[tag.valueoffset : tag.valueoffset + 2] = np.array(1, page.parent.byteorder + "u2").tobytes()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.size != np.prod(page.shape):
        raise PictureError("has an unsupported compression; save it uncompressed or as PNG")
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _plain(page: tifffile.TiffPage, pixels: np.ndarray) -> np.ndarray:
    """Convert any sample layout to grey or RGB, with alpha if the file declares it."""
    kind = tifffile.PHOTOMETRIC(page.photometric).name
    colours = COLOURS[kind]
    samples = pixels.reshape(*pixels.shape[:2], -1)  # (H, W, C)
    colour = samples[..., :colours]
    if kind == "MINISWHITE":
        colour = 65535 - colour
    extra = _extra_sample(page)
    if extra == tifffile.EXTRASAMPLE.UNSPECIFIED:
        return np.squeeze(colour, axis=2) if colours == 1 else colour
    alpha = samples[..., colours : colours + 1]
    if extra == tifffile.EXTRASAMPLE.ASSOCALPHA:
        straight = colour * (65535.0 / np.maximum(alpha, 1))
        colour = np.rint(np.minimum(straight, 65535)).astype(np.uint16)
    return np.concatenate([colour, alpha], axis=2)
