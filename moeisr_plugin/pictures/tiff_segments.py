"""Decode the samples of a TIFF page; what a decoder finds wrong in the strips or tiles is an error."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

from .ccitt import check_fax
from .picture import PictureError
from .tiff_layout import JPEG_CODES

FAX_CODES = (COMPRESSION.CCITTRLE, COMPRESSION.CCITTFAX3, COMPRESSION.CCITTFAX4)
FAX_OPTIONS: dict[int, int] = {COMPRESSION.CCITTFAX3: 292, COMPRESSION.CCITTFAX4: 293}
JPEG_TABLES_TAG = 347
LOW_BIT_FIRST = 2
BYTES_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
LUMA_TAG, REFERENCE_TAG = 529, 532
LUMA = (299, 1000, 587, 1000, 114, 1000)
"""Default weights of red, green and blue as fractions (TIFF 6.0, section 21)."""
REFERENCE = (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)

_log = logging.getLogger("tifffile")
# Without a handler, Python prints the messages of tifffile to stderr.
_log.addHandler(logging.NullHandler())


def decode_samples(page: tifffile.TiffPage) -> np.ndarray:
    """Return the samples (H, W, S) as stored, except that YCbCr becomes RGB.

    Raises:
        PictureError: damaged data, or a compression that cannot be decoded.
    """
    with _warnings_refused():
        _check_segment_lengths(page)
        if page.compression in FAX_CODES:
            _check_fax_segments(page)
        if page.compression == COMPRESSION.JPEG:
            _check_jpeg_segments(page)
        if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in JPEG_CODES:
            return _ycbcr_to_rgb(page, _ycbcr(page))
        samples = page.asarray(maxworkers=1)  # one thread, so that warnings arrive in this one
    if _is_planar(page):
        return np.moveaxis(
            samples.reshape(-1, page.imagelength, page.imagewidth), 0, -1
        )  # (S, H, W) -> (H, W, S)
    return samples.reshape(page.imagelength, page.imagewidth, -1)  # (H, W, S)


def _is_planar(page: tifffile.TiffPage) -> bool:
    return page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1


def _segments(page: tifffile.TiffPage) -> Iterator[tuple[int, bytes]]:
    """Yield the index and the content of each strip or tile."""
    handle = page.parent.filehandle
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        if count:
            handle.seek(offset)
            yield index, handle.read(count)


def _segment_size(page: tifffile.TiffPage, index: int) -> tuple[int, int]:
    """Return the rows and columns that a strip or tile holds."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    rows = min(page.rowsperstrip, page.imagelength)
    strips = -(-page.imagelength // rows)
    return min(rows, page.imagelength - index % strips * rows), page.imagewidth


def _check_segment_lengths(page: tifffile.TiffPage) -> None:
    """Refuse strips and tiles without data, and uncompressed ones that are too short; they would be black."""
    if min(page.databytecounts) == 0 or min(page.dataoffsets) == 0:
        raise ValueError("a strip or tile has no data")
    if page.compression != COMPRESSION.NONE or page.photometric == PHOTOMETRIC.YCBCR:
        return
    samples = 1 if _is_planar(page) else page.samplesperpixel
    for index, count in enumerate(page.databytecounts):
        rows, width = _segment_size(page, index)
        if count < rows * -(-width * samples * page.bitspersample // 8):
            raise ValueError("a strip or tile is too short")


def _check_fax_segments(page: tifffile.TiffPage) -> None:
    options = page.tags.valueof(FAX_OPTIONS.get(page.compression, 0), 0)
    for index, data in _segments(page):
        rows, width = _segment_size(page, index)
        if page.fillorder == LOW_BIT_FIRST:
            data = data.translate(BYTES_REVERSED)
        check_fax(data, width=width, rows=rows, compression=page.compression, options=options)


def _check_jpeg_segments(page: tifffile.TiffPage) -> None:
    """Refuse data that a strict parser refuses; the decoder only warns of damage, and its warnings are lost.

    The parser belongs to JPEG XL, which stores JPEG data bit by bit. It knows neither 12 bits nor CMYK.
    """
    if page.bitspersample != 8 or page.samplesperpixel not in (1, 3):
        return
    import imagecodecs

    tables = page.tags.valueof(JPEG_TABLES_TAG) or b""
    for _, data in _segments(page):
        stream = data[: data.rfind(b"\xff\xd9") + 2]  # writers may pad
        if tables:
            stream = tables[:-2] + stream[2:]  # without the end of the tables and the start of the data
        try:
            imagecodecs.jpegxl_encode_jpeg(stream)
        except imagecodecs.JpegxlError:
            raise ValueError("JPEG data are invalid or end early") from None


def _ycbcr(page: tifffile.TiffPage) -> np.ndarray:
    """Return Y, Cb and Cr (H, W, 3) uint8; tifffile does not read chroma of a lower resolution."""
    if page.bitspersample != 8 or page.samplesperpixel != 3:
        raise PictureError("is a YCBCR TIFF with other than three 8-bit samples; convert it to RGB first")
    if _is_planar(page):
        if page.subsampling not in (None, (1, 1)):
            raise PictureError("is a planar TIFF with subsampled chroma; convert it to RGB first")
        return np.moveaxis(page.asarray(maxworkers=1).reshape(3, page.imagelength, page.imagewidth), 0, -1)
    picture = np.zeros((page.imagelength, page.imagewidth, 3), np.uint8)
    across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
    for index, data in _segments(page):
        rows, width = _segment_size(page, index)
        if page.compression != COMPRESSION.NONE:
            data = tifffile.TIFF.DECOMPRESSORS[page.compression](data)
        block = _unpacked(page, np.frombuffer(data, np.uint8), rows, width)
        y, x = index // across * page.rowsperstrip, 0
        if page.is_tiled:
            y, x = index // across * page.tilelength, index % across * page.tilewidth
        kept = picture[y : y + rows, x : x + width]
        kept[:] = block[: kept.shape[0], : kept.shape[1]]
    return picture


def _unpacked(page: tifffile.TiffPage, data: np.ndarray, rows: int, width: int) -> np.ndarray:
    """Return Y, Cb and Cr (rows, width, 3) of data units: the Y of h x v pixels, their Cb and their Cr."""
    h, v = page.subsampling or (2, 2)
    if page.subsampling is None and data.size == 3 * rows * width:
        h, v = 1, 1  # not what the missing tag means, but what the size of the data says
    across, down = -(-width // h), -(-rows // v)
    if page.predictor != 1 and (h, v) != (1, 1):
        raise PictureError("has subsampled chroma with a predictor; convert it to RGB first")
    units = data[: across * down * (h * v + 2)].reshape(down, across, h * v + 2)
    if page.predictor != 1:
        units = np.add.accumulate(units, axis=1, dtype=np.uint8)
    luma = units[..., :-2].reshape(down, across, v, h).swapaxes(1, 2).reshape(down * v, across * h)
    chroma = units[..., -2:].repeat(v, axis=0).repeat(h, axis=1)  # (down * v, across * h, 2)
    return np.dstack([luma, chroma])[:rows, :width]


def _ycbcr_to_rgb(page: tifffile.TiffPage, ycbcr: np.ndarray) -> np.ndarray:
    """Return RGB (H, W, 3) uint8 of Y, Cb and Cr (TIFF 6.0, section 21)."""
    low, high = _fractions(page, REFERENCE_TAG, REFERENCE).reshape(3, 2).T  # (3,) each
    red, green, blue = _fractions(page, LUMA_TAG, LUMA)
    y, cb, cr = np.moveaxis((ycbcr - low) * (255, 127, 127) / (high - low), -1, 0)  # (H, W) each
    r = cr * (2 - 2 * red) + y
    b = cb * (2 - 2 * blue) + y
    g = (y - blue * b - red * r) / green
    return np.rint(np.clip(np.stack([r, g, b], axis=-1), 0, 255)).astype(np.uint8)


def _fractions(page: tifffile.TiffPage, tag: int, default: tuple[int, ...]) -> np.ndarray:
    pairs = np.array(page.tags.valueof(tag) or default, float).reshape(-1, 2)
    return pairs[:, 0] / pairs[:, 1]


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
    except (MemoryError, PictureError):
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
