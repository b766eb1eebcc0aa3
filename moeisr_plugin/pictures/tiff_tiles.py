"""Writing TIFF tile by tile: 8 or 16 bits per sample, any size, with an EXIF block.

Pillow fails on an EXIF block in a compressed TIFF, does not write 16-bit RGB and needs all pixels at once;
tifffile does not write EXIF.
"""

import math
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np
from PIL import TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from .picture import ORIENTATION_TAG, Picture
from .png import DEFLATE_LEVEL
from .row_bands import regroup_bands
from .tiff_tags import ICC_TAG, XMP_TAG, descriptive_tags

TILE = 256
TILE_UNIT = 16  # sides of tiles are multiples of it (TIFF 6.0, section 15)
TILE_OFFSETS, TILE_BYTE_COUNTS = 324, 325
CLASSIC_HEADER, BIG_HEADER = b"II*\0" + bytes(4), b"II+\0\x08\0\0\0" + bytes(8)
CLASSIC_BYTES = 2**32 - 2**26
"""Largest uncompressed size of a classic TIFF. Its offsets end at 4 GiB, and headers need some space."""


def write_tiff(file: BinaryIO, bands: Iterable[np.ndarray], *, like: Picture, size: tuple[int, int]) -> None:
    """Write deflated tiles with horizontal differencing (TIFF 6.0, section 14); BigTIFF above 4 GiB.

    The directory is written first, and overwritten when the offsets of the tiles are known.

    Args:
        file: empty, open for writing, seekable.
        bands: (N, W) or (N, W, C), H rows in total.
        like: source of the bit depth, the channels and the metadata.
        size: (H, W).
    """
    tile = [min(TILE, math.ceil(side / TILE_UNIT) * TILE_UNIT) for side in size]
    tiles = [math.ceil(side / tile_side) for side, tile_side in zip(size, tile, strict=True)]
    directory = _directory(like, size, tile, tiles)
    directory.save(file)
    offsets, byte_counts = [], []
    for rows in regroup_bands(bands, tile[0]):
        samples = rows.reshape(*rows.shape[:2], -1)  # (N, W, C)
        for x in range(0, size[1], tile[1]):
            differences = _differences(samples[:, x : x + tile[1]], *tile)
            offsets.append(file.tell())
            byte_counts.append(file.write(zlib.compress(differences, DEFLATE_LEVEL)))
    directory[TILE_OFFSETS], directory[TILE_BYTE_COUNTS] = offsets, byte_counts
    file.seek(0)
    directory.save(file)


def _differences(samples: np.ndarray, height: int, width: int) -> bytes:
    """Return a padded tile (height, width, C) of differences to the pixel on the left, little-endian."""
    rows, columns, channels = samples.shape
    differences = np.zeros((height, width, channels), samples.dtype.newbyteorder("<"))
    differences[:rows, :columns] = samples
    differences[:rows, 1:columns] -= samples[:, :-1]
    return differences.tobytes()


def _directory(
    like: Picture, size: tuple[int, int], tile: Sequence[int], tiles: Sequence[int]
) -> ImageFileDirectory_v2:
    """Return all tags, with 0 for the offsets and byte counts of the tiles.

    Args:
        like: source of the bit depth, the channels and the metadata.
        size: (H, W).
        tile: height and width of a tile.
        tiles: number of rows and columns of tiles.
    """
    channels = like.pixels[0, 0].size
    big = math.prod(tile) * math.prod(tiles) * like.pixels[0, 0].nbytes > CLASSIC_BYTES
    directory = ImageFileDirectory_v2(BIG_HEADER if big else CLASSIC_HEADER)
    directory.tagtype[TILE_OFFSETS] = TiffTags.LONG8 if big else TiffTags.LONG
    directory[TILE_OFFSETS] = directory[TILE_BYTE_COUNTS] = [0] * math.prod(tiles)
    for tag, value in descriptive_tags(like.exif_tags()).items():
        directory[tag] = value
    directory[ORIENTATION_TAG] = like.orientation
    directory[257], directory[256] = size
    directory[258] = (8 * like.pixels.itemsize,) * channels
    directory[259] = 8  # deflate
    directory[262] = 2 if channels >= 3 else 1  # RGB, or grey where 0 is black
    directory[277] = channels
    directory[317] = 2  # horizontal differencing
    directory[323], directory[322] = tile
    if like.has_alpha:
        directory[338] = 2  # not premultiplied
    if like.dpi is not None:
        directory[282], directory[283] = like.dpi
        directory[296] = 2  # per inch
    if like.xmp is not None:
        directory.tagtype[XMP_TAG] = TiffTags.BYTE
        directory[XMP_TAG] = like.xmp
    if like.icc_profile is not None:
        directory.tagtype[ICC_TAG] = TiffTags.UNDEFINED
        directory[ICC_TAG] = like.icc_profile
    return directory
