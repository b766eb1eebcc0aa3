"""Frames of PyAV to RGB and back, with the colour matrix and the range that they state."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from moeisr_plugin.video.formats import Sampling
from moeisr_plugin.video.library import require_av

if TYPE_CHECKING:
    import av

_UNSPECIFIED = 2
_LIMITED, _FULL = 1, 2
# Colour matrices of H.264 and other standards, and their numbers in FFmpeg's libswscale.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_BT709, _BT601, _RGB = 1, 6, 0
# Players assume BT.709 from this height on where a video does not state its matrix, and BT.601 below.
_HD_HEIGHT = 720


@dataclass(frozen=True)
class Colours:
    """What a video states of its colours, in the numbers of the standards.

    Attributes:
        matrix: from RGB to YUV, always known.
        limited: whether black and white are 16 and 235 of 255.
        primaries, transfer: 2 if they are not stated.
        is_rgb: whether the video is stored as RGB.
    """

    matrix: int
    limited: bool
    primaries: int
    transfer: int
    is_rgb: bool

    @property
    def range(self) -> int:
        return _LIMITED if self.limited else _FULL


def colours_of(frame: "av.VideoFrame") -> Colours:
    """Return the colours of a frame.

    Raises:
        ValueError: the matrix is not known.
    """
    is_rgb = is_rgb_format(frame.format)
    matrix = frame.colorspace
    if matrix in (_UNSPECIFIED, _RGB):
        matrix = _BT709 if frame.height >= _HD_HEIGHT or is_rgb else _BT601
    if matrix not in _MATRICES:
        raise ValueError(f"its colour matrix (number {matrix}) is not supported; convert it to BT.709 first")
    is_full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
    return Colours(matrix, not is_full or is_rgb, frame.color_primaries, frame.color_trc, is_rgb)


def sampling_of(form: Any) -> Sampling:
    """Return depth and chroma of a pixel format. Grey counts as 420, which every player shows."""
    bits = max(component.bits for component in form.components)
    if is_rgb_format(form):
        return Sampling(bits, 444)
    if sum(not each.is_alpha for each in form.components) == 1:
        return Sampling(bits, 420)
    if form.chroma_width(4) == 4:
        return Sampling(bits, 444)
    return Sampling(bits, 420 if form.chroma_height(4) < 4 else 422)


def is_rgb_format(form: Any) -> bool:
    """Return whether a pixel format is RGB, or a palette of RGB."""
    return form.is_rgb or form.has_palette


def has_alpha(form: Any) -> bool:
    """Return whether a pixel format has transparency."""
    return any(component.is_alpha for component in form.components)


def to_rgb(frame: "av.VideoFrame", colours: Colours, *, deep: bool) -> np.ndarray:
    """Return the pixels of a frame, (h, w, 3) uint8, or uint16 if `deep`. Alpha is dropped.

    libswscale's RGB of 16 bits ends at about 65283 for white. `from_rgb` is its inverse.
    """
    source = {} if colours.is_rgb else {"src_colorspace": _MATRICES[colours.matrix]}
    converted = frame.reformat(
        format="rgb48le" if deep else "rgb24",
        src_color_range=None if colours.is_rgb else colours.range,
        dst_color_range=_FULL,
        interpolation=_interpolation(),
        **source,
    )
    return converted.to_ndarray()


def from_rgb(pixels: np.ndarray, pixel_format: str, colours: Colours) -> "av.VideoFrame":
    """Return a frame of pixels, (H, W, 3) uint8 or uint16.

    Args:
        pixels: the pixels.
        pixel_format: of the frame, RGB or YUV.
        colours: matrix and range of YUV, and what the frame states.
    """
    av = require_av()
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.dtype == np.uint8 else "rgb48le")
    if not pixel_format.startswith("yuv"):
        return frame.reformat(format=pixel_format)
    frame = frame.reformat(
        format=pixel_format,
        src_color_range=_FULL,
        dst_colorspace=_MATRICES[colours.matrix],
        dst_color_range=colours.range,
        interpolation=_interpolation(),
    )
    frame.colorspace, frame.color_range = colours.matrix, colours.range
    frame.color_primaries, frame.color_trc = colours.primaries, colours.transfer
    return frame


def _interpolation() -> int:
    """Return the most exact conversion: chroma is interpolated in both directions, and rounded correctly."""
    from av.video.reformatter import Interpolation

    return int(
        Interpolation.BICUBIC
        | Interpolation.ACCURATE_RND
        | Interpolation.FULL_CHR_H_INT
        | Interpolation.FULL_CHR_H_INP
    )
