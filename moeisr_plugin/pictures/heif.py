"""AVIF and HEIC: read the properties that Pillow ignores, and refuse pictures whose colours it would lose."""

import importlib
import struct
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from .boxes import boxes, file_boxes
from .picture import PictureError

HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
SRGB_LIKE_PRIMARIES = (1, 2, 5, 6)
"""BT.709, unspecified and BT.601 (ITU-T H.273, table 2)."""
SRGB_LIKE_TRANSFERS = (1, 2, 6, 13, 14, 15)
"""BT.709, unspecified, BT.601, sRGB and the 8-bit-like curves of BT.2020 (ITU-T H.273, table 3)."""
LARGEST_META = 2**24
"""Bytes of the box of properties; a limit on memory."""


def is_heic(file: BinaryIO) -> bool:
    """Return whether the file is HEIF with HEVC, and not AVIF."""
    brands = _brands(file)
    return not brands.isdisjoint(HEIC_BRANDS) and brands.isdisjoint(AVIF_BRANDS)


def _brands(file: BinaryIO) -> set[bytes]:
    file.seek(0)
    head = file.read(64)
    if head[4:8] != b"ftyp":
        return set()
    return {head[i : i + 4] for i in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)}


def register_heic() -> bool:
    """Register the package pillow-heif with Pillow; return False where it is not installed."""
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener(thumbnails=False)
        return True
    return False


def check_heif(file: BinaryIO) -> str | None:
    """Check the primary picture of an AVIF or HEIC file; other files pass.

    Returns:
        A note on what decoding loses, or None.

    Raises:
        PictureError: colours other than sRGB without a profile, or a crop of AVIF, which its decoder ignores.
    """
    brands = _brands(file)
    if brands.isdisjoint((*HEIC_BRANDS, *AVIF_BRANDS)):
        return None
    properties = _properties(file)
    kinds = {kind for kind, _ in properties}
    if b"clap" in kinds and not brands.isdisjoint(AVIF_BRANDS):
        raise PictureError("has a crop (clap) that is not applied; export it again as PNG")
    colours = [data for kind, data in properties if kind == b"colr"]
    if not any(data[:4] in (b"prof", b"rICC") for data in colours):
        for data in colours:
            if data[:4] == b"nclx" and len(data) >= 10:
                primaries, transfer = struct.unpack(">HH", data[4:8])
                if primaries not in SRGB_LIKE_PRIMARIES or transfer not in SRGB_LIKE_TRANSFERS:
                    raise PictureError(
                        f"has colours other than sRGB (primaries {primaries}, transfer {transfer} of H.273); "
                        "convert it to sRGB first"
                    )
    return "has a gain map; only the standard picture is used" if _has_gain_map(file) else None


def deep_pixels(file: BinaryIO) -> np.ndarray | None:
    """Decode an AVIF or HEIC file with more than 8 bits a sample, which Pillow reduces.

    Returns:
        (H, W, 3) or (H, W, 4) uint16 of the full range, or None for 8 bits.
    """
    depths = (depth for kind, data in _properties(file) if kind == b"pixi" for depth in data[5:])
    bits = max(depths, default=8)
    if not 8 < bits <= 16:
        return None
    heic = is_heic(file)
    file.seek(0)
    if heic:
        opened = importlib.import_module("pillow_heif").open_heif(file, convert_hdr_to_8bit=False)
        samples = np.asarray(opened) >> (16 - bits)  # (H, W[, C]), shifted to 16 bits
    else:
        samples = importlib.import_module("imagecodecs").avif_decode(file.read(), index=0, numthreads=1)
    samples = samples.reshape(*samples.shape[:2], -1)
    if samples.shape[2] <= 2:  # as Pillow, which has no grey AVIF
        samples = samples[..., [0, 0, 0, *range(1, samples.shape[2])]]
    return np.rint(samples * (65535 / (2**bits - 1))).astype(np.uint16)


def _has_gain_map(file: BinaryIO) -> bool:
    """Return whether there is a tone-mapped picture (ISO 21496-1) or the gain map of an iPhone."""
    meta = _meta(file)
    return b"infe" in meta and (b"tmap" in meta or b"aux:hdrgainmap" in meta)


def _properties(file: BinaryIO) -> list[tuple[bytes, bytes]]:
    """Return kind and content of the primary picture's properties (ISO/IEC 23008-12, 9.3.1)."""
    meta = _meta(file)
    parts = dict(boxes(meta[4:]))
    primary = _item_number(parts.get(b"pitm", b""))
    containers = dict(boxes(parts.get(b"iprp", b"")))
    properties = list(boxes(containers.get(b"ipco", b"")))
    used = _associations(containers.get(b"ipma", b"")).get(primary)
    if used is None:
        return properties
    return [properties[i - 1] for i in used if 1 <= i <= len(properties)]


def _meta(file: BinaryIO) -> bytes:
    for kind, start, size in file_boxes(file):
        if kind == b"meta":
            file.seek(start)
            return file.read(min(size or LARGEST_META, LARGEST_META))
    return b""


def _item_number(pitm: bytes) -> int:
    return int.from_bytes(pitm[4:8] if pitm[:1] == b"\1" else pitm[4:6], "big")


def _associations(ipma: bytes) -> dict[int, list[int]]:
    """Return the numbers of each picture's properties, counted from 1."""
    if len(ipma) < 8:
        return {}
    number_bytes = 4 if ipma[0] else 2
    index_bytes = 2 if ipma[3] & 1 else 1
    found: dict[int, list[int]] = {}
    at = 8
    for _ in range(int.from_bytes(ipma[4:8], "big")):
        if at + number_bytes >= len(ipma):
            break
        item = int.from_bytes(ipma[at : at + number_bytes], "big")
        count = ipma[at + number_bytes]
        at += number_bytes + 1
        stop = at + count * index_bytes
        essential_bit = 1 << (8 * index_bytes - 1)
        found[item] = [
            int.from_bytes(ipma[i : i + index_bytes], "big") & ~essential_bit
            for i in range(at, stop, index_bytes)
        ]
        at = stop
    return found
