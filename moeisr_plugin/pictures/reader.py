"""Reading a picture with full bit depth, colour profile and EXIF block."""

import io
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from moeisr_plugin.utils.regular_files import require_file

from .colour import to_srgb
from .errors import decoder_errors_as_picture_errors, errors_with_path
from .heif import check_heif, deep_pixels, is_heic, register_heic
from .jpeg import DamagedJpegError, check_jpeg_data, is_jpeg
from .jpeg2000 import is_deep_jpeg2000, read_deep_jpeg2000, read_deep_jpeg2000_header, with_metadata
from .jpegxl import is_jpegxl, read_jpegxl, read_jpegxl_header
from .pam import is_pam, read_pam, read_pam_header
from .picture import Header, Picture, PictureError, TooManyPixelsError, plausible_dpi
from .png import check_png_data, is_png16, read_colour_chunks, read_png16_pixels, scale_transparent_grey
from .ppm import is_ppm16, read_ppm16_pixels
from .refused import check_refused
from .tga import is_tga, may_have_alpha, without_empty_alpha
from .tiff_tags import is_tiff
from .truncated import completed, is_truncated
from .xmp import has_gain_map, kept_xmp

MAX_PIXELS = 2**28
"""Default limit on the size of a picture: 268 megapixels, 0.8 GB as 8-bit RGB."""

PICTURE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "tif", "tiff", "bmp", "dib", "gif"),
        *("ppm", "pgm", "pnm", "pbm", "pam", "avif", "heic", "heif", "jp2", "j2k", "jxl", "tga"),
        *("ico", "qoi"),
    )
)
"""Suffixes of the files in a folder that count as pictures."""

PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "AVIF", "HEIF", "JPEG2000", "ICO", "QOI")
"""Formats that Pillow may decode. It has decoders for more, and some of them start external programs."""

HEIF_FORMATS = ("AVIF", "HEIF")
EXIF_PREFIX = b"Exif\0\0"
PLAIN_MODE = {"1": "L", "La": "LA", "P": "RGB", "PA": "RGBA", "RGBX": "RGB", "RGBa": "RGBA", "YCbCr": "RGB"}
GREY_MODES = {"1", "L", "LA", "La"}
READABLE_MODES = {"L", "LA", "RGB", "RGBA", "CMYK", *PLAIN_MODE}

_pillow_limit = threading.Lock()
"""Held while the pixel limit of Pillow, a global variable, is disabled."""


def is_picture_name(path: str | Path) -> bool:
    """Return whether the suffix of a file name is one of `PICTURE_SUFFIXES`, in any case."""
    return Path(path).suffix.lower() in PICTURE_SUFFIXES


def _read_tiff_header(file: BinaryIO) -> Header:
    from .tiff import read_tiff_header  # tifffile takes 0.1 s to import

    return read_tiff_header(file)


def _read_tiff(file: BinaryIO) -> Picture:
    from .tiff import read_tiff  # tifffile takes 0.1 s to import

    return read_tiff(file)


READERS: tuple[tuple[Callable, Callable, Callable], ...] = (
    (is_tiff, _read_tiff_header, _read_tiff),
    (is_pam, read_pam_header, read_pam),
    (is_jpegxl, read_jpegxl_header, read_jpegxl),
    (is_deep_jpeg2000, read_deep_jpeg2000_header, read_deep_jpeg2000),
)
"""Tests of formats that Pillow does not read fully, with readers of the header and of the picture."""


def read_picture(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, accept_truncated: bool = False
) -> Picture:
    """Read the first frame of a picture file; see `decode_picture`.

    Raises:
        PictureError: the file is missing, empty, damaged, too large, not a picture, or of an unsupported
            layout.
    """
    with errors_with_path(path):
        require_file(path)
        with open(path, "rb") as file:
            return decode_picture(file, max_pixels=max_pixels, accept_truncated=accept_truncated)


def decode_picture(
    file: BinaryIO,
    *,
    max_pixels: int = MAX_PIXELS,
    accept_truncated: bool = False,
    check_jpeg: bool = True,
) -> Picture:
    """Decode the first frame of a picture.

    Grey and RGB of 8 and 16 bits, with or without alpha, are returned as stored. 1 bit becomes grey, palettes
    become RGB(A), and CMYK and Lab become sRGB according to their profile. TIFF and JPEG XL are turned
    upright; the EXIF orientation of other formats is not applied.

    Args:
        file: a complete, seekable file. The content decides on the format, not the name.
        max_pixels: refuse larger pictures before decoding.
        accept_truncated: decode a JPEG, PNG or WebP that lacks its end, and fill the missing part. Decode a
            JPEG whose data are damaged. The note says so.
        check_jpeg: refuse a JPEG whose data are damaged. This takes several times as long as decoding.

    Raises:
        PictureError: the file is empty, damaged, too large, not a picture, or of an unsupported layout. The
            message does not name the file.
    """
    try:
        return _decode_whole(file, max_pixels, check_jpeg=check_jpeg)
    except TooManyPixelsError:
        raise  # completing the file would take the memory of all pixels
    except DamagedJpegError:
        if not accept_truncated:
            raise
        return _decode_whole(file, max_pixels).with_note("is damaged; parts of it may be wrong")
    except PictureError:
        file.seek(0)
        data = file.read()
        if not is_truncated(data):
            raise
        if not accept_truncated:
            raise PictureError(
                "is damaged or incomplete (it lacks its end, which --accept-truncated of moeisr upscale "
                "fills); copy or export it again"
            ) from None
    with decoder_errors_as_picture_errors(file):
        filled = io.BytesIO(completed(data))
    return _decode_whole(filled, max_pixels).with_note("lacks its end; the missing part is filled")


def _decode_whole(file: BinaryIO, max_pixels: int, *, check_jpeg: bool = False) -> Picture:
    header = decode_header(file, max_pixels=max_pixels)
    with decoder_errors_as_picture_errors(file):
        picture = _decode(file)
        if picture.pixels.shape[:2] != (header.height, header.width):
            raise ValueError("the size differs from the header")
        if check_jpeg and is_jpeg(file):
            check_jpeg_data(file, pixels=header.height * header.width)
        return picture


def decode_header(file: BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the size and the channels of the result of `decode_picture` without decoding.

    Arguments and errors are those of `decode_picture`.
    """
    with decoder_errors_as_picture_errors(file):
        if not file.seek(0, io.SEEK_END):
            raise PictureError("is empty; replace it by a picture")
        check_refused(file)
        readers = (header for fits, header, _ in READERS if fits(file))
        header = next(readers, _pillow_header)(file)
    check_size(header, max_pixels)
    return header


def check_size(header: Header, max_pixels: int) -> None:
    """Raise `TooManyPixelsError` if a picture has more than `max_pixels` pixels."""
    if header.height * header.width > max_pixels:
        raise TooManyPixelsError(
            f"{header.width}x{header.height} is more than the limit of {max_pixels} pixels; raise max_pixels "
            "(--max-pixels of moeisr upscale) if you trust the file"
        )


def _pillow_header(file: BinaryIO) -> Header:
    with _open(file) as image:
        readable = image.mode in READABLE_MODES or image.mode.startswith("I;16")
        if not (readable or is_png16(file) or is_ppm16(image)):
            raise PictureError(f"has pixels of type {image.mode}; convert it to an 8- or 16-bit PNG first")
        is_deep = image.mode.startswith("I")
        is_grey = is_deep or image.mode in GREY_MODES
        has_alpha = image.has_transparency_data and (image.format != "TGA" or may_have_alpha(file))
        return Header(image.height, image.width, has_alpha, is_grey)


def _decode(file: BinaryIO) -> Picture:
    readers = (picture for fits, _, picture in READERS if fits(file))
    return next(readers, _read_by_pillow)(file)


def _read_by_pillow(file: BinaryIO) -> Picture:
    with _open(file) as image:
        if is_ppm16(image):
            return _describe(image, read_ppm16_pixels(file, image))
        if image.format in HEIF_FORMATS:
            picture = _decode_by_pillow(image).with_note(check_heif(file))
            deep = deep_pixels(file)
            return picture if deep is None else replace(picture, pixels=deep)
        if image.format == "TGA":
            return _decode_by_pillow(without_empty_alpha(file, image))
        if image.format == "JPEG2000":
            return with_metadata(_decode_by_pillow(image), file)
        if image.format != "PNG":
            return _decode_by_pillow(image)
        check_png_data(file)
        if is_png16(file):
            picture = _describe(image, read_png16_pixels(file, image))
        else:
            image.load()
            scale_transparent_grey(file, image)
            picture = _decode_by_pillow(image)
        return replace(picture, png_colour=read_colour_chunks(file))


def _decode_by_pillow(image: Image.Image) -> Picture:
    image.load()
    note = None
    if image.mode == "CMYK":
        profile = image.info.pop("icc_profile", None)
        pixels = np.asarray(to_srgb(image, profile))
        if profile is None:
            note = "is CMYK without a colour profile; its colours are approximate"
    elif image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16)
    else:
        mode = PLAIN_MODE.get(image.mode, image.mode)
        if "transparency" in image.info:
            mode = "LA" if mode == "L" else "RGBA"
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return _describe(image, pixels, note=note)


def _describe(image: Image.Image, pixels: np.ndarray, *, note: str | None = None) -> Picture:
    """Return the picture of decoded pixels with the metadata that Pillow found."""
    exif = None
    if image.info.get("exif"):
        exif = image.info["exif"].removeprefix(EXIF_PREFIX)
    elif image.format == "PNG":
        with suppress(Exception):  # damaged text raises many types; only its tags are lost
            exif = _exif_of_text(image)
    dpi = plausible_dpi(image.info.get("dpi"))
    picture = Picture(pixels, image.info.get("icc_profile") or None, exif or None, dpi, note=note)
    xmp = kept_xmp(image.info.get("xmp"), picture.orientation)
    return replace(picture, xmp=xmp).with_note(_note_on_parts(image))


def _note_on_parts(image: Image.Image) -> str | None:
    """Return a note on the parts of a file that are not read."""
    if has_gain_map(image):
        return "has a gain map; only the standard picture is used"
    sizes = image.info.get("sizes", ()) if image.format == "ICO" else ()
    if len(sizes) > 1:
        return f"has {len(sizes)} sizes; only the largest is used"
    count = getattr(image, "n_frames", 1)
    kind = "pictures" if image.format in ("MPO", "HEIF") else "frames"
    return f"has {count} {kind}; only the first is used" if count > 1 else None


def _exif_of_text(image: Image.Image) -> bytes | None:
    """Return the EXIF block that older writers keep as text."""
    tags = image.getexif()
    return tags.tobytes().removeprefix(EXIF_PREFIX) if len(tags) else None


def _open(file: BinaryIO) -> Image.Image:
    if is_heic(file) and not register_heic():
        raise PictureError(
            'is HEIC; run `pip install "moeisr_plugin[heic]"` to read it, or convert it to PNG'
        )
    check_heif(file)
    file.seek(0)
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=["TGA"] if is_tga(file) else _known_formats())
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _known_formats() -> list[str]:
    """Return the `PILLOW_FORMATS` of this Pillow. It raises KeyError for others, such as AVIF before 11.3."""
    Image.init()
    return [name for name in PILLOW_FORMATS if name in Image.OPEN]
