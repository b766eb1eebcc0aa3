"""Formats that are not read: each has a line that names it, the reason and the remedy."""

from typing import BinaryIO

from .picture import PictureError

LINEAR = "whose linear light has no fixed white; tone-map it and convert it to a 16-bit PNG first"
EXPORT = "which is not read; export it as PNG first"
REFUSED = {
    b"\x76\x2f\x31\x01": f"is OpenEXR, {LINEAR}",
    b"#?RADIANCE": f"is Radiance HDR, {LINEAR}",
    b"#?RGBE": f"is Radiance HDR, {LINEAR}",
    b"PF\n": f"is a PFM, {LINEAR}",
    b"Pf\n": f"is a PFM, {LINEAR}",
    b"II\xbc": f"is JPEG XR, {EXPORT}",
    b"\xff\xd8\xff\xf7": f"is JPEG-LS, {EXPORT}",
    b"DDS ": f"is a DDS texture, {EXPORT}",
    b"\xabKTX": f"is a KTX texture, {EXPORT}",
    b"8BPS": f"is a Photoshop file, {EXPORT}",
    b"gimp xcf": f"is a GIMP file, {EXPORT}",
    b"%PDF": f"is a PDF document, {EXPORT}",
    b"%!PS": f"is a PostScript document, {EXPORT}",
    b"<svg": f"is an SVG drawing, {EXPORT}",
    b"SDPX": f"is DPX, {EXPORT}",
    b"XPDS": f"is DPX, {EXPORT}",
    b"SIMPLE  =": f"is FITS, {EXPORT}",
    b"IIRO": f"is a camera's raw file, {EXPORT}",
    b"IIRS": f"is a camera's raw file, {EXPORT}",
    b"FUJIFILMCCD-RAW": f"is a camera's raw file, {EXPORT}",
}
"""By the first bytes of the file."""


def check_refused(file: BinaryIO) -> None:
    """Raise `PictureError` if the file is of a known format that is not read."""
    file.seek(0)
    head = file.read(16)
    for magic, line in REFUSED.items():
        if head.startswith(magic):
            raise PictureError(line)
