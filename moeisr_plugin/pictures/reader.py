"""Reading a picture with full bit depth, colour profile and EXIF block."""

import errno
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.regular_files import require_file
from moeisr_plugin.utils.shortage import memory_shortage

from .colour import to_srgb
from .heif import check_heif, is_heic, register_heic
from .picture import Header, Picture, PictureError, plausible_dpi
from .png import is_png16, read_colour_chunks, read_png16_pixels, scale_transparent_grey
from .ppm import is_ppm16, read_ppm16_pixels
from .tiff import is_tiff, read_tiff, read_tiff_header

MAX_PIXELS = 2**28
"""Default limit on the size of a picture: 268 megapixels, 0.8 GB as 8-bit RGB."""

PICTURE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "tif", "tiff", "bmp", "dib", "gif"),
        *("ppm", "pgm", "pnm", "avif", "heic", "heif", "jp2", "j2k"),
    )
)
"""Suffixes of the files in a folder that count as pictures."""

PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "AVIF", "HEIF", "JPEG2000")
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


def read_picture(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the first frame of a picture file; see `decode_picture`.

    Raises:
        PictureError: the file is missing, empty, damaged, too large, not a picture, or of an unsupported
            layout.
    """
    with errors_with_path(path):
        require_file(path)
        with open(path, "rb") as file:
            return decode_picture(file, max_pixels=max_pixels)


def decode_picture(file: BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the first frame of a picture.

    Grey and RGB of 8 and 16 bits, with or without alpha, are returned as stored. 1 bit becomes grey, palettes
    become RGB(A), and CMYK and Lab become sRGB according to their profile. TIFF is turned upright; the EXIF
    orientation of other formats is not applied.

    Args:
        file: a complete, seekable file. The content decides on the format, not the name.
        max_pixels: refuse larger pictures before decoding.

    Raises:
        PictureError: the file is empty, damaged, too large, not a picture, or of an unsupported layout. The
            message does not name the file.
    """
    header = decode_header(file, max_pixels=max_pixels)
    with _decoder_errors_as_picture_errors():
        picture = _decode(file)
        if picture.pixels.shape[:2] != (header.height, header.width):
            raise ValueError("the size differs from the header")
        return picture


def decode_header(file: BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the size and the channels of the result of `decode_picture` without decoding.

    Arguments and errors are those of `decode_picture`.
    """
    with _decoder_errors_as_picture_errors():
        if not file.seek(0, io.SEEK_END):
            raise PictureError("is empty; replace it by a picture")
        header = read_tiff_header(file) if is_tiff(file) else _pillow_header(file)
    check_size(header, max_pixels)
    return header


def check_size(header: Header, max_pixels: int) -> None:
    """Raise `PictureError` if a picture has more than `max_pixels` pixels."""
    if header.height * header.width > max_pixels:
        raise PictureError(
            f"{header.width}x{header.height} is more than the limit of {max_pixels} pixels; raise max_pixels "
            "(--max-pixels of moeisr upscale) if you trust the file"
        )


@contextmanager
def errors_with_path(path: str | Path) -> Iterator[None]:
    """Turn OSError and ValueError into `PictureError` with the path at the start of the message.

    Raises:
        PictureError: for any OSError or ValueError.
    """
    try:
        yield
    except FileNotFoundError:
        raise PictureError(f"{path}: there is no such file; check the name") from None
    except PermissionError:
        raise PictureError(f"{path}: may not be read; check its permissions") from None
    except IsADirectoryError:
        raise PictureError(f"{path}: is a folder; name a picture in it") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR):
            raise PictureError(one_line(error)) from error
        raise PictureError(f"{path}: cannot be read ({error.strerror or error}); check the disk") from error
    except ValueError as error:
        raise PictureError(f"{path}: {error}") from error


def _pillow_header(file: BinaryIO) -> Header:
    with _open(file) as image:
        readable = image.mode in READABLE_MODES or image.mode.startswith("I;16")
        if not (readable or is_png16(file) or is_ppm16(image)):
            raise PictureError(f"has pixels of type {image.mode}; convert it to an 8- or 16-bit PNG first")
        is_deep = image.mode.startswith("I")
        if image.format == "JPEG2000" and not is_deep and _jpeg2000_bits(file) > 8:
            raise PictureError(
                "is JPEG 2000 with more than 8 bits per sample; convert it to a 16-bit PNG first"
            )
        is_grey = is_deep or image.mode in GREY_MODES
        return Header(image.height, image.width, image.has_transparency_data, is_grey)


def _jpeg2000_bits(file: BinaryIO) -> int:
    """Return the bits per sample, 0 if unknown. Pillow keeps only 8 bits except for grey."""
    file.seek(0)
    content = file.read()
    start = content.find(b"\xff\x4f\xff\x51")  # markers SOC and SIZ
    return (content[start + 42] & 0x7F) + 1 if 0 <= start < len(content) - 42 else 0


def _decode(file: BinaryIO) -> Picture:
    if is_tiff(file):
        return read_tiff(file)
    with _open(file) as image:
        if is_ppm16(image):
            return _describe(image, read_ppm16_pixels(file, image))
        if image.format in HEIF_FORMATS:
            return replace(_decode_by_pillow(image), note=check_heif(file))
        if image.format != "PNG":
            return _decode_by_pillow(image)
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
    elif image.format == "PNG" and len(image.getexif()):
        exif = image.getexif().tobytes().removeprefix(EXIF_PREFIX)  # kept as text by older writers
    frames = getattr(image, "n_frames", 1)
    # The further frames of an MPO are a camera's previews and gain maps, which nobody calls frames.
    if frames > 1 and image.format != "MPO":
        note = f"has {frames} frames; only the first is used"
    dpi = plausible_dpi(image.info.get("dpi"))
    return Picture(pixels, image.info.get("icc_profile") or None, exif or None, dpi, note=note)


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
            return Image.open(file, formats=_known_formats())
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _known_formats() -> list[str]:
    """Return the `PILLOW_FORMATS` of this Pillow. It raises KeyError for others, such as AVIF before 11.3."""
    Image.init()
    return [name for name in PILLOW_FORMATS if name in Image.OPEN]


@contextmanager
def _decoder_errors_as_picture_errors() -> Iterator[None]:
    """Turn every exception of a decoder into a `PictureError`; damaged data raise many types."""
    try:
        yield
    except (PictureError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise PictureError("is not a picture of a known format; convert it to PNG first") from None
    except Exception as error:
        if memory_shortage(error):
            raise MemoryError(str(error)) from error
        reason = " ".join(str(error).split())
        if " " not in reason:  # a bare key or index
            reason = f"{type(error).__name__} {reason}".strip()
        raise PictureError(f"is damaged or incomplete ({reason}); copy or export it again") from error
