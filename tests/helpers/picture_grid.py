"""Generated picture files over formats, depths, channels, layouts, compressions and orientations."""

import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image, features

HEIGHT, WIDTH = 37, 53
ORIENTATION_TAG = 274
KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "grey": (1, {"photometric": "minisblack"}),
    "grey and alpha": (2, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    "rgb": (3, {"photometric": "rgb"}),
    "rgba": (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
}
FAITHFUL = (None, "lzw", "zlib", "packbits")


class Case(NamedTuple):
    """A file, and the pixels that it must give when upright.

    Attributes:
        name: what the file is.
        suffix: of a file name, with the dot.
        data: the content of the file.
        pixels: (H, W) or (H, W, C).
        tolerance: largest difference of a sample, of 255, that is right; 0 if nothing is lost.
    """

    name: str
    suffix: str
    data: bytes
    pixels: np.ndarray
    tolerance: float = 0


def smooth(channels: int, dtype: Any = np.uint8) -> np.ndarray:
    """Return smooth pixels (H, W) or (H, W, C) without saturation."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [
        0.5 + 0.35 * np.sin(x / (19 + 3 * c) + c) * np.cos(y / (21 - 2 * c) + c) for c in range(channels)
    ]
    pixels = np.rint(np.stack(planes, axis=-1) * np.iinfo(dtype).max).astype(dtype)  # (H, W, C)
    return pixels[..., 0] if channels == 1 else pixels


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels upright that are stored with an EXIF orientation, by the definition of its 0th row."""
    by_pillow = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    if orientation == 1:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(by_pillow[orientation]))


def by_pillow(pixels: np.ndarray, name: str, *, orientation: int = 1, **options: Any) -> bytes:
    file = io.BytesIO()
    if orientation > 1:
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = orientation
        options["exif"] = exif
    Image.fromarray(pixels).save(file, name, **options)
    return file.getvalue()


def by_tifffile(pixels: np.ndarray, *, planar: bool = False, **options: Any) -> bytes:
    file = io.BytesIO()
    if planar:
        pixels, options = np.moveaxis(pixels, -1, 0), {**options, "planarconfig": "separate"}
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def tiffs() -> Iterator[Case]:
    layouts: dict[str, dict[str, Any]] = {"strips": {"rowsperstrip": 16}, "tiles": {"tile": (16, 32)}}
    depths = {8: np.uint8, 16: np.uint16}
    for kind, depth, layout, compression, order in itertools.product(KINDS, depths, layouts, FAITHFUL, "<>"):
        channels, options = KINDS[kind]
        pixels = smooth(channels, depths[depth])
        for planar in (False, True) if channels > 1 else (False,):
            predictor = compression in ("lzw", "zlib") and not planar
            data = by_tifffile(
                pixels,
                planar=planar,
                compression=compression,
                predictor=predictor,
                byteorder=order,
                bigtiff=layout == "tiles" and order == ">",
                **options,
                **layouts[layout],
            )
            name = f"tiff {kind} {depth} {layout} {compression} {order} {'planar' if planar else 'chunky'}"
            yield Case(name, ".tif", data, pixels)
    rgb = smooth(3)
    for orientation, kind in itertools.product(range(1, 9), "HB"):
        tags = [(ORIENTATION_TAG, kind, 1, orientation, True)]
        data = by_tifffile(rgb, photometric="rgb", compression="lzw", extratags=tags)
        yield Case(f"tiff orientation {orientation} {kind}", ".tif", data, turned(rgb, orientation))
    for compression in ("zstd", "jpeg2000", "jpegxl", "lerc", "webp", "jpeg"):
        data = by_tifffile(rgb, photometric="rgb", compression=compression)
        yield Case(f"tiff {compression}", ".tif", data, rgb, 6 if compression == "jpeg" else 0)
    two = np.where(smooth(1) > 127, 255, 0).astype(np.uint8)
    for compression in ("tiff_ccitt", "group3", "group4"):
        data = by_pillow(two > 0, "TIFF", compression=compression)
        yield Case(f"tiff {compression}", ".tif", data, two)
    inverted = by_tifffile(255 - smooth(1), photometric="miniswhite", compression="lzw")
    yield Case("tiff white is 0", ".tif", inverted, smooth(1))
    alpha = smooth(4)
    multiplied = np.dstack([np.rint(alpha[..., :3] * (alpha[..., 3:] / 255)), alpha[..., 3]]).astype(np.uint8)
    data = by_tifffile(multiplied, photometric="rgb", extrasamples=["assocalpha"])
    yield Case("tiff associated alpha", ".tif", data, alpha, 4)


def pngs() -> Iterator[Case]:
    for channels, depth in itertools.product((1, 3, 4), (np.uint8, np.uint16)):
        pixels = smooth(channels, depth)
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
        data = cv2.imencode(".png", pixels.reshape(HEIGHT, WIDTH, channels)[..., order])[1].tobytes()
        yield Case(f"png {channels} channels of {8 * pixels.itemsize}", ".png", data, pixels)
    yield Case("png grey and alpha", ".png", by_pillow(smooth(2), "PNG"), smooth(2))
    grey = smooth(1)
    for bits in (1, 2, 4):
        levels = np.rint(grey / 255 * (2**bits - 1)).astype(np.uint8)
        image = Image.fromarray(levels)
        image.putpalette(np.repeat(np.arange(2**bits) * 255 // (2**bits - 1), 3).astype(np.uint8).tobytes())
        file = io.BytesIO()
        image.save(file, "PNG", bits=bits)
        colours = np.repeat((levels * (255 // (2**bits - 1)))[..., None], 3, axis=2)
        yield Case(f"png palette of {bits}", ".png", file.getvalue(), colours)
    for orientation in range(1, 9):
        data = by_pillow(smooth(3), "PNG", orientation=orientation)
        yield Case(f"png orientation {orientation}", ".png", data, turned(smooth(3), orientation))


def lossy() -> Iterator[Case]:
    rgb = smooth(3)
    for name, mode in itertools.product(("4:4:4", "4:2:0"), ("baseline", "progressive")):
        data = by_pillow(rgb, "JPEG", quality=97, subsampling=name, progressive=mode == "progressive")
        yield Case(f"jpeg {name} {mode}", ".jpg", data, rgb, 6)
    yield Case("jpeg grey", ".jpg", by_pillow(smooth(1), "JPEG", quality=97), smooth(1), 4)
    for orientation in range(2, 9):
        data = by_pillow(rgb, "JPEG", quality=97, subsampling=0, orientation=orientation)
        yield Case(f"jpeg orientation {orientation}", ".jpg", data, turned(rgb, orientation), 6)
    for channels in (3, 4):
        pixels = smooth(channels)
        data = by_pillow(pixels, "WEBP", lossless=True, exact=True)
        yield Case(f"webp {channels} channels", ".webp", data, pixels)
        yield Case(f"lossy webp {channels}", ".webp", by_pillow(pixels, "WEBP", quality=98), pixels, 10)
    for orientation in (3, 6, 8):
        data = by_pillow(rgb, "WEBP", lossless=True, orientation=orientation)
        yield Case(f"webp orientation {orientation}", ".webp", data, turned(rgb, orientation))
    if not features.check("avif"):
        return
    for channels, bits in itertools.product((3, 4), (8, 10, 12)):
        pixels = smooth(channels, np.uint8 if bits == 8 else np.uint16)
        stored = pixels if bits == 8 else pixels >> (16 - bits)
        data = bytes(imagecodecs.avif_encode(stored, level=100, bitspersample=bits, pixelformat="444"))
        expected = stored if bits == 8 else np.rint(stored * (65535 / (2**bits - 1))).astype(np.uint16)
        yield Case(f"avif {channels} channels of {bits}", ".avif", data, expected)
    for orientation in (3, 6, 8):
        data = by_pillow(rgb, "AVIF", quality=100, subsampling="4:4:4", orientation=orientation)
        yield Case(f"avif orientation {orientation}", ".avif", data, turned(rgb, orientation), 4)


def plain() -> Iterator[Case]:
    for channels in (1, 3):
        yield Case(f"bmp {channels}", ".bmp", by_pillow(smooth(channels), "BMP"), smooth(channels), 0)
    palette = Image.fromarray(smooth(3)).quantize(64)
    file = io.BytesIO()
    palette.save(file, "BMP")
    yield Case("bmp palette", ".bmp", file.getvalue(), np.asarray(palette.convert("RGB")))
    for channels, largest in itertools.product((1, 3), (15, 255, 1023, 65535)):
        deep = largest > 255
        pixels = np.rint(smooth(channels) / 255 * largest).astype(">u2" if deep else np.uint8)
        white = 65535 if deep else 255
        expected = np.rint(pixels * (white / largest)).astype(np.uint16 if deep else np.uint8)
        size = f"{WIDTH} {HEIGHT}\n{largest}\n".encode()
        suffix = ".ppm" if channels == 3 else ".pgm"
        raw = (b"P6\n" if channels == 3 else b"P5\n") + size + pixels.tobytes()
        yield Case(f"{suffix} raw {largest}", suffix, raw, expected)
        text = " ".join(map(str, pixels.ravel())).encode() + b"\n"
        data = (b"P3\n" if channels == 3 else b"P2\n") + size + text
        yield Case(f"{suffix} text {largest}", suffix, data, expected)


SOURCES: tuple[Callable[[], Iterator[Case]], ...] = (tiffs, pngs, lossy, plain)


def all_cases() -> list[Case]:
    return [case for source in SOURCES for case in source()]
