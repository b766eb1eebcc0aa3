"""Read TIFF files of every layout and compression, upright, as 8- or 16-bit grey or RGB."""

from collections.abc import Iterator
from typing import BinaryIO

import tifffile
from PIL import Image
from tifffile import PHOTOMETRIC

from .picture import Header, Picture, plausible_dpi, quiet_pillow, upright
from .tiff_colours import to_grey_or_rgb
from .tiff_layout import COLOURS, GREY, PROFILED, alpha_sample, check_layout, name, orientation
from .tiff_segments import decode_samples
from .tiff_tags import ICC_TAG, XMP_TAG, descriptive_exif, states_dpi
from .xmp import kept_xmp


def read_tiff_header(file: BinaryIO) -> Header:
    """Return the upright size and kind of the first page, without decoding it.

    Raises:
        PictureError: a layout that cannot be read.
    """
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        assert isinstance(page, tifffile.TiffPage)
        check_layout(page)
        height, width = page.imagelength, page.imagewidth
        if orientation(page) >= 5:
            height, width = width, height
        return Header(height, width, alpha_sample(page) is not None, page.photometric in GREY)


def read_tiff(file: BinaryIO) -> Picture:
    """Read the first page, turned upright.

    Samples of up to 8 bits become uint8, those of 9 to 16 bits uint16, scaled to the full range. Palettes
    become RGB. CMYK and Lab become sRGB through their profile.

    Args:
        file: a file that `read_tiff_header` accepts.

    Raises:
        PictureError: the decoder warns, or does not know the compression.
    """
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        assert isinstance(page, tifffile.TiffPage)
        tags = Image.Exif()
        if not tiff.is_bigtiff:  # which Pillow does not parse
            file.seek(0)
            with quiet_pillow():
                tags.load_from_fp(file)
        samples = decode_samples(page)  # (H, W, S)
        profile = page.tags.valueof(ICC_TAG)
        pixels = to_grey_or_rgb(page, samples, profile)
        has_dpi = states_dpi({tag.code: tag.value for tag in page.tags})
        return Picture(
            upright(pixels, orientation(page)),
            icc_profile=None if page.photometric in PROFILED else profile,
            exif=descriptive_exif(tags),
            dpi=plausible_dpi(page.get_resolution(unit="INCH") if has_dpi else None),
            xmp=kept_xmp(page.tags.valueof(XMP_TAG), 1),
            note="; ".join(_notes(tiff, page)) or None,
        )


def _notes(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> Iterator[str]:
    """Yield what reading leaves out."""
    if len(tiff.pages) > 1:
        yield f"has {len(tiff.pages)} pages; only the first is used"
    used = COLOURS[page.photometric] + (alpha_sample(page) is not None)
    if page.samplesperpixel > used:
        yield f"has {page.samplesperpixel - used} further samples of unknown meaning, which are left out"
    if page.bitspersample == 32:
        yield "has 32 bits a sample; 16 are used"
    if page.photometric in PROFILED and page.bitspersample == 16:
        yield f"is a 16-bit {name(page)} TIFF; it becomes 8-bit sRGB"
    if page.photometric == PHOTOMETRIC.SEPARATED and page.tags.valueof(ICC_TAG) is None:
        yield "is CMYK without a colour profile; its colours are approximate"
