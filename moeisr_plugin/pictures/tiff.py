"""Read TIFF files of every layout and compression, upright, as 8- or 16-bit grey or RGB."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image
from tifffile import EXTRASAMPLE, PHOTOMETRIC

from .colour import cmyk_to_srgb, lab_to_srgb
from .picture import ORIENTATION_TAG, Header, Picture, PictureError, plausible_dpi, upright
from .tiff_tags import descriptive_exif, states_dpi

ICC_TAG = 34675
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Both byte orders, of TIFF and of BigTIFF."""
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
MOST_PLAIN_BITS = 8
CMYK_INK_SET = 1

_log = logging.getLogger("tifffile")
# Without a handler, Python prints the messages of tifffile to stderr.
_log.addHandler(logging.NullHandler())


def is_tiff(file: BinaryIO) -> bool:
    """Return whether the file begins as TIFF or BigTIFF does."""
    file.seek(0)
    return file.read(4) in MAGIC


def read_tiff_header(file: BinaryIO) -> Header:
    """Return the upright size and kind of the first page, without decoding it.

    Raises:
        PictureError: a layout that cannot be read.
    """
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        assert isinstance(page, tifffile.TiffPage)
        _check_layout(page)
        height, width = page.imagelength, page.imagewidth
        if _orientation(page) >= 5:
            height, width = width, height
        return Header(height, width, _alpha_sample(page) is not None, page.photometric in GREY)


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
            tags.load_from_fp(file)
        samples = _by_pillow(file) if _is_subsampled(page) else _decode(page)  # (H, W, S)
        profile = page.tags.valueof(ICC_TAG)
        pixels = _to_grey_or_rgb(page, samples, profile)
        has_dpi = states_dpi({tag.code: tag.value for tag in page.tags})
        return Picture(
            upright(pixels, _orientation(page)),
            icc_profile=None if page.photometric in PROFILED else profile,
            exif=descriptive_exif(tags),
            dpi=plausible_dpi(page.get_resolution(unit="INCH") if has_dpi else None),
            note="; ".join(_notes(tiff, page)) or None,
        )


def _check_layout(page: tifffile.TiffPage) -> None:
    """Raise `PictureError` for a layout that cannot be read."""
    bits, kind, samples = page.bitspersample, _name(page), page.samplesperpixel
    depth = f"{bits}-bit" if isinstance(bits, int) else "mixed-depth"
    if page.photometric not in COLOURS:
        raise PictureError(f"is a {kind} TIFF; convert it to RGB first")
    if page.sampleformat not in (tifffile.SAMPLEFORMAT.UINT, tifffile.SAMPLEFORMAT.VOID) and not (
        page.photometric in LAB and page.sampleformat == tifffile.SAMPLEFORMAT.INT
    ):
        number = (
            "floating-point" if page.sampleformat == tifffile.SAMPLEFORMAT.IEEEFP else "signed or complex"
        )
        raise PictureError(f"has {depth} {number} samples; convert it to an 8- or 16-bit TIFF or PNG first")
    if not isinstance(bits, int) or not 1 <= bits <= 16:
        raise PictureError(f"has {depth} samples; convert it to an 8- or 16-bit TIFF or PNG first")
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
    if page.imagedepth != 1:
        raise PictureError("is a volume; export one slice of it")
    if page.is_tiled and page.tilewidth * page.tilelength > MOST_TILE_PIXELS:
        raise PictureError(f"has tiles of {page.tilewidth}x{page.tilelength} pixels; save it in strips")


def _name(page: tifffile.TiffPage) -> str:
    try:
        return PHOTOMETRIC(page.photometric).name
    except ValueError:
        return f"photometric {page.photometric}"


def _orientation(page: tifffile.TiffPage) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) where the tag is missing or invalid."""
    value = page.tags.valueof(ORIENTATION_TAG, 1)
    if isinstance(value, bytes):  # some writers store a BYTE where the specification asks for a SHORT
        value = value[0] if value else 1
    return value if value in range(1, 9) else 1


def _alpha_sample(page: tifffile.TiffPage) -> EXTRASAMPLE | None:
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


def _notes(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> Iterator[str]:
    """Yield what reading leaves out."""
    if len(tiff.pages) > 1:
        yield f"has {len(tiff.pages)} pages; only the first is used"
    used = COLOURS[page.photometric] + (_alpha_sample(page) is not None)
    if page.samplesperpixel > used:
        yield f"has {page.samplesperpixel - used} extra samples of unknown meaning; they are left out"
    if page.photometric in PROFILED and page.bitspersample == 16:
        yield f"is a 16-bit {_name(page)} TIFF; it becomes 8-bit sRGB"
    if page.photometric == PHOTOMETRIC.SEPARATED and page.tags.valueof(ICC_TAG) is None:
        yield "is CMYK without a colour profile; its colours are approximate"


def _is_subsampled(page: tifffile.TiffPage) -> bool:
    """Return whether chroma is stored at a lower resolution outside JPEG, which tifffile does not read."""
    return page.photometric == PHOTOMETRIC.YCBCR and page.compression not in JPEG_CODES


def _by_pillow(file: BinaryIO) -> np.ndarray:
    """Decode a page of 8-bit YCbCr into RGB (H, W, 3), not turned."""
    file.seek(0)
    with Image.open(file, formats=["TIFF"]) as image:
        image.getexif().pop(ORIENTATION_TAG, None)
        stored = image.convert("RGB")
    return np.asarray(stored)


def _decode(page: tifffile.TiffPage) -> np.ndarray:
    """Decode the samples (H, W, S), unscaled."""
    with _warnings_refused():
        samples = page.asarray(maxworkers=1)  # one thread, so that warnings arrive in this one
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        return np.moveaxis(
            samples.reshape(-1, page.imagelength, page.imagewidth), 0, -1
        )  # (S, H, W) -> (H, W, S)
    return samples.reshape(page.imagelength, page.imagewidth, -1)  # (H, W, S)


@contextmanager
def _warnings_refused() -> Iterator[None]:
    """Turn what tifffile logs in this thread into a `PictureError`."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    thread = threading.get_ident()
    handler.emit = lambda record: messages.append(record.getMessage()) if record.thread == thread else None
    _log.addHandler(handler)
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        messages.append(str(error))
        raise _refusal(error, messages[0]) from error
    finally:
        _log.removeHandler(handler)
    if messages:
        raise _refusal(None, messages[0])


def _refusal(error: Exception | None, message: str) -> PictureError:
    reason = " ".join(message.split())
    if isinstance(error, NotImplementedError) or "not supported" in reason or "imagecodecs" in reason:
        return PictureError(f"has a compression that cannot be decoded ({reason}); save it as PNG")
    return PictureError(f"is damaged or incomplete ({reason}); copy or export it again")


def _to_grey_or_rgb(page: tifffile.TiffPage, samples: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Return (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), as in `Picture.pixels`, from samples (H, W, S)."""
    kind, colours = page.photometric, COLOURS[page.photometric]
    stored = samples[..., :colours]
    alpha_kind = _alpha_sample(page)
    alpha = None if alpha_kind is None else _scaled(samples[..., colours : colours + 1], page.bitspersample)
    if page.colormap is not None and kind == PHOTOMETRIC.PALETTE:
        colour = _look_up(page.colormap, stored[..., 0])
        alpha = None if alpha is None else _eight_bits(alpha)
    elif kind == PHOTOMETRIC.SEPARATED:
        colour = cmyk_to_srgb(_eight_bits(stored), profile)
        alpha = None if alpha is None else _eight_bits(alpha)
    elif kind in LAB:
        colour = lab_to_srgb(_eight_bit_lab(stored, is_signed=kind == PHOTOMETRIC.CIELAB), profile)
        alpha = None if alpha is None else _eight_bits(alpha)
    else:
        colour = _scaled(stored, page.bitspersample)
    if kind == PHOTOMETRIC.MINISWHITE:
        colour = np.iinfo(colour.dtype).max - colour
    if alpha is None:
        return np.ascontiguousarray(colour[..., 0] if kind in GREY else colour)
    if alpha_kind == EXTRASAMPLE.ASSOCALPHA:
        colour = _divided(colour, alpha)
    return np.concatenate([colour, alpha], axis=2)


def _scaled(samples: np.ndarray, bits: int) -> np.ndarray:
    """Return samples of 1 to 8 bits as uint8 and of 9 to 16 bits as uint16, white being the largest value."""
    dtype = np.uint8 if bits <= MOST_PLAIN_BITS else np.uint16
    if bits in (8, 16):
        return samples.astype(dtype, copy=False)
    return np.rint(samples * (np.iinfo(dtype).max / (2**bits - 1))).astype(dtype)


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    """Return uint8 from uint8 or uint16."""
    return samples if samples.dtype == np.uint8 else np.rint(samples / 257).astype(np.uint8)


def _eight_bit_lab(samples: np.ndarray, *, is_signed: bool) -> np.ndarray:
    """Return Lab (H, W, 3) as bytes, a* and b* in two's complement.

    Args:
        samples: (H, W, 3), 8 or 16 bits.
        is_signed: a* and b* are stored in two's complement (CIELAB), not with an offset (ICCLAB).
    """
    bits = 8 * samples.dtype.itemsize
    unsigned = samples.view(f"u{samples.dtype.itemsize}") if samples.dtype.kind == "i" else samples
    lightness = _eight_bits(unsigned[..., :1])
    chroma = unsigned[..., 1:].astype(np.int32)
    middle = 2 ** (bits - 1)
    chroma = (chroma + middle) % (2 * middle) - middle if is_signed else chroma - middle
    if bits == 16:
        chroma = np.clip(np.rint(chroma / 256), -128, 127)
    return np.concatenate([lightness, chroma.astype(np.int8).view(np.uint8)], axis=2)


def _look_up(colour_map: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return RGB (H, W, 3) uint8 of palette indices (H, W).

    A map without any value above 255 holds 8-bit values, which some writers store against the specification.
    """
    table = colour_map if colour_map.max() <= 255 else colour_map >> 8  # (3, N)
    return table.astype(np.uint8).T[indices.astype(np.intp)]


def _divided(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return colour (H, W, C) that was stored multiplied by alpha (H, W, 1)."""
    white = float(np.iinfo(colour.dtype).max)
    straight = colour * (white / np.maximum(alpha, 1))
    return np.rint(np.minimum(straight, white)).astype(colour.dtype)
