"""Select the XMP that the enlarged picture keeps, and detect gain maps."""

import re

from PIL import Image

GAIN_MAPS = (b"http://ns.adobe.com/hdr-gain-map/", b"HDRGainMap", b"urn:iso:std:iso:ts:21496:-1")
"""Name spaces and identifiers of gain maps, also in segments of a JPEG outside XMP."""
PARTS = (b"http://ns.google.com/photos/1.0/container/", b"GCamera:MicroVideo", b"GCamera:MotionPhoto")
"""XMP with them describes further parts of the file by their offsets."""
ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>)\s*)\d")
LONGEST_IN_JPEG = 65000


def kept_xmp(xmp: bytes | str | None, orientation: int) -> bytes | None:
    """Return XMP for a picture of an orientation (1 to 8), or None if it describes other parts of a file."""
    if not xmp:
        return None
    data = xmp.encode() if isinstance(xmp, str) else xmp
    if any(mark in data for mark in (*GAIN_MAPS, *PARTS)):
        return None
    return ORIENTATION.sub(rb"\g<1>%d" % orientation, data)


def has_gain_map(image: Image.Image) -> bool:
    """Return whether a JPEG that Pillow opened has a gain map."""
    segments = (content for _, content in getattr(image, "applist", ()))
    return any(mark in content for content in segments for mark in GAIN_MAPS)
