"""Reading and writing pictures, and conversion between stored pixels and network input. Needs no torch."""

from .alpha import from_layers, from_unit_planes, to_layers, to_unit_planes
from .errors import errors_with_path
from .notebook import notebook_png, shown_array
from .picture import Header, Picture, PictureError, stored_window, upright
from .reader import (
    MAX_PIXELS,
    PICTURE_SUFFIXES,
    check_size,
    decode_header,
    decode_picture,
    is_picture_name,
    read_picture,
)
from .row_bands import join_bands
from .writer import (
    ALIASES,
    WRITABLE,
    check_format_fits,
    has_quality,
    holds_16_bits,
    lost_metadata,
    picture_format,
    write_bands,
    write_picture,
    writes_in_bands,
)

__all__ = [
    "ALIASES",
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "WRITABLE",
    "Header",
    "Picture",
    "PictureError",
    "check_format_fits",
    "check_size",
    "decode_header",
    "decode_picture",
    "errors_with_path",
    "from_layers",
    "from_unit_planes",
    "has_quality",
    "holds_16_bits",
    "is_picture_name",
    "join_bands",
    "lost_metadata",
    "notebook_png",
    "picture_format",
    "read_picture",
    "shown_array",
    "stored_window",
    "to_layers",
    "to_unit_planes",
    "upright",
    "write_bands",
    "write_picture",
    "writes_in_bands",
]
