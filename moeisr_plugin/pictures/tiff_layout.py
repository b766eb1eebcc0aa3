"""Check the layout of a TIFF page, and describe its samples."""

import tifffile
from tifffile import EXTRASAMPLE, PHOTOMETRIC, SAMPLEFORMAT

from .picture import ORIENTATION_TAG, PictureError

COLOURS: dict[int, int] = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.YCBCR: 3,
    PHOTOMETRIC.CIELAB: 3,
    PHOTOMETRIC.ICCLAB: 3,
    PHOTOMETRIC.SEPARATED: 4,
}
"""The photometric interpretations that are read, each with its number of colour samples."""
GREY = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)
LAB = (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB)
PROFILED = (PHOTOMETRIC.SEPARATED, *LAB)
"""Colours that are converted to sRGB with 8 bits a sample, as the colour management library has no more."""
JPEG_CODES = (6, 7, 34892, 33007)
MOST_SAMPLES = 8
"""Samples per pixel. A limit, as more are memory without being a picture."""
MOST_TILE_PIXELS = 2**26
CMYK_INK_SET = 1
PHOTOMETRIC_TAG = 262
YCBCR_CODES = (*JPEG_CODES, 1, 5, 8, 32773, 32946, 34925, 50000)
"""Compressions of YCbCr: JPEG, and those that leave the samples as they are."""
NUMBERS: dict[int, str] = {
    SAMPLEFORMAT.INT: "signed",
    SAMPLEFORMAT.COMPLEXINT: "complex",
    SAMPLEFORMAT.COMPLEXIEEEFP: "complex",
}


def check_layout(page: tifffile.TiffPage) -> None:
    """Raise `PictureError` for a layout that cannot be read."""
    bits, kind, samples = page.bitspersample, name(page), page.samplesperpixel
    depth = f"{bits}-bit" if isinstance(bits, int) else "mixed-depth"
    numbers = (page.imagewidth, page.imagelength, samples, page.photometric, page.compression)
    if not all(isinstance(number, int) for number in numbers):
        raise PictureError("is a TIFF with damaged tags; copy or export it again")
    if PHOTOMETRIC_TAG not in page.tags:
        raise PictureError("is a TIFF that does not say what its samples mean; export it again")
    if page.photometric not in COLOURS:
        raise PictureError(f"is a {kind} TIFF; convert it to RGB first")
    if page.sampleformat == SAMPLEFORMAT.IEEEFP:
        raise PictureError(
            f"has {depth} floating-point samples, whose white is not defined; "
            "tone-map it and convert it to a 16-bit PNG or TIFF first"
        )
    is_signed_lab = page.photometric in LAB and page.sampleformat == SAMPLEFORMAT.INT
    if page.sampleformat in NUMBERS and not is_signed_lab:
        number = NUMBERS[page.sampleformat]
        raise PictureError(f"has {depth} {number} samples; convert it to an 8- or 16-bit TIFF or PNG first")
    if not isinstance(bits, int) or not (1 <= bits <= 16 or bits == 32):
        raise PictureError(f"has {depth} samples; convert it to an 8- or 16-bit TIFF or PNG first")
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in YCBCR_CODES:
        raise PictureError("is a YCBCR TIFF with an unusual compression; convert it to RGB first")
    if page.photometric in (*PROFILED, PHOTOMETRIC.YCBCR) and bits not in (8, 16):
        raise PictureError(f"is a {kind} TIFF with {depth} samples; convert it to RGB first")
    if page.photometric == PHOTOMETRIC.SEPARATED and page.tags.valueof(332, CMYK_INK_SET) != CMYK_INK_SET:
        raise PictureError("has inks other than CMYK; convert it to RGB first")
    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is None:
        raise PictureError("is a palette TIFF without a colour map; convert it to RGB first")
    if samples < COLOURS[page.photometric] or samples > MOST_SAMPLES:
        raise PictureError(f"is a {kind} TIFF with {samples} samples a pixel; convert it to RGB first")
    if page.photometric in GREY and samples > 2:
        raise PictureError(f"has {samples} bands, but does not declare them as RGB; export it as RGB")
    if bits < 8 and samples > 1:
        raise PictureError(f"is a {kind} TIFF with {depth} samples; convert it to RGB first")
    if page.planarconfig not in (1, 2):
        raise PictureError("is a TIFF whose planes are arranged in an unknown way; export it again")
    if page.imagedepth != 1:
        raise PictureError("is a volume; export one slice of it")
    if page.is_tiled and page.tilewidth * page.tilelength > MOST_TILE_PIXELS:
        raise PictureError(f"has tiles of {page.tilewidth}x{page.tilelength} pixels; save it in strips")


def name(page: tifffile.TiffPage) -> str:
    try:
        return PHOTOMETRIC(page.photometric).name
    except ValueError:
        return f"photometric {page.photometric}"


def orientation(page: tifffile.TiffPage) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) where the tag is missing or invalid."""
    value = page.tags.valueof(ORIENTATION_TAG, 1)
    if isinstance(value, bytes):  # some writers store a BYTE where the specification asks for a SHORT
        value = value[0] if value else 1
    return value if value in range(1, 9) else 1


def alpha_sample(page: tifffile.TiffPage) -> EXTRASAMPLE | None:
    """Return the kind of alpha of the first sample after the colours, or None.

    Writers such as OpenCV store RGBA without saying what the fourth sample is. Alpha is assumed then.
    """
    if page.samplesperpixel <= COLOURS[page.photometric]:
        return None
    if not page.extrasamples:
        only = page.samplesperpixel == COLOURS[page.photometric] + 1
        return EXTRASAMPLE.UNASSALPHA if only else None
    kind = page.extrasamples[0]
    return None if kind == EXTRASAMPLE.UNSPECIFIED else EXTRASAMPLE(kind)
