"""Signature and tags of TIFF files. Tags that describe the picture may be copied into another file."""

from collections.abc import Mapping
from typing import Any, BinaryIO

from PIL import Image

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Both byte orders, of TIFF and of BigTIFF."""
ICC_TAG, XMP_TAG = 34675, 700
EXIF_IFD, GPS_IFD = 34665, 34853
X_RESOLUTION_TAG, RESOLUTION_UNIT_TAG = 282, 296
INCH, CENTIMETRE = 2, 3
DESCRIPTIVE_TAGS = (270, 271, 272, 305, 306, 315, 33432)
"""Description, maker, model, software, date, artist and copyright. The other tags describe the layout."""
TAGS_OF_OFFSETS = (37500, 40965)
"""Maker note and interoperability: their offsets are valid only in the file that they come from."""


def is_tiff(file: BinaryIO) -> bool:
    """Return whether the file begins as TIFF or BigTIFF does."""
    file.seek(0)
    return file.read(4) in MAGIC


class _Latin1(str):
    """Text of a tag that Pillow, which reads Latin-1 but writes ASCII, gives back byte for byte.

    Bytes in its place would lose the type of the tags that Pillow does not know.
    """

    def encode(self, encoding: str = "latin-1", errors: str = "strict") -> bytes:
        return super().encode("latin-1", errors)


def states_dpi(tags: Mapping[int, Any]) -> bool:
    """Whether the tags of a TIFF file tell how large its pixels are, and not only their shape."""
    return X_RESOLUTION_TAG in tags and tags.get(RESOLUTION_UNIT_TAG, INCH) in (INCH, CENTIMETRE)


def descriptive_exif(tags: Image.Exif) -> bytes | None:
    """Keeps what the tags of a TIFF file say of the picture, without offsets and sizes, as an EXIF block."""
    kept = Image.Exif()
    for tag, value in descriptive_tags(tags).items():
        kept[tag] = value
    return kept.tobytes().removeprefix(b"Exif\0\0") if len(kept) else None


def descriptive_tags(tags: Image.Exif) -> dict[int, Any]:
    """The tags of an EXIF block or a TIFF file that speak of the picture; the value of an IFD is its tags."""
    kept = {tag: _writable(tags[tag]) for tag in DESCRIPTIVE_TAGS if tag in tags}
    for ifd in (EXIF_IFD, GPS_IFD):
        entries = {
            tag: _writable(value) for tag, value in tags.get_ifd(ifd).items() if tag not in TAGS_OF_OFFSETS
        }
        if entries:
            kept[ifd] = entries
    return kept


def _writable(value: Any) -> Any:
    """The value of a tag as Pillow may write it."""
    return _Latin1(value) if isinstance(value, str) else value
