"""Containers, codecs and pixel formats of videos. Needs no other package."""

from pathlib import Path
from typing import NamedTuple

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".vob", ".mxf"),
)
"""Suffixes of files that are read as videos."""

CONTAINERS = {"mp4": "mp4", "mkv": "matroska", "mov": "mov", "webm": "webm"}
"""Formats that are written, by suffix without the dot: their names in FFmpeg."""

LOSSLESS = 100
"""The quality at which RGB is kept without loss."""

_H264_QUALITIES, _VP9_QUALITIES = 51, 63  # the worst values of crf
_H264_DEFAULT, _VP9_DEFAULT = 16, 20


class Coding(NamedTuple):
    """How frames are encoded.

    Attributes:
        codec: name of the encoder in FFmpeg.
        options: its options.
        is_rgb: whether it encodes RGB without loss.
        name: how messages name it.
    """

    codec: str
    options: dict[str, str]
    is_rgb: bool
    name: str


def is_video_name(path: Path) -> bool:
    """Return whether a file has the suffix of a video."""
    return path.suffix.lower() in SUFFIXES


def container_of(path: Path) -> str:
    """Return the key of `CONTAINERS` for an output.

    Raises:
        ValueError: the suffix is not that of a container that is written.
    """
    name = path.suffix.lower().removeprefix(".")
    name = "mp4" if name == "m4v" else name
    if name not in CONTAINERS:
        known = ", ".join(f".{each}" for each in CONTAINERS)
        raise ValueError(f"{path}: videos are not written to {path.suffix or 'this name'}; choose {known}")
    return name


def default_suffix(source: Path) -> str:
    """Return the suffix of an output without the dot: that of the input, or mkv, which takes any audio."""
    suffix = source.suffix.lower().removeprefix(".")
    return suffix if suffix in (*CONTAINERS, "m4v") else "mkv"


def coding_of(container: str, quality: int | None) -> Coding:
    """Choose codec and options.

    Args:
        container: a key of `CONTAINERS`.
        quality: from 1 (smallest file) to `LOSSLESS`. None for the default, which looks like the original.

    Raises:
        ValueError: the container has no lossless codec for RGB.
    """
    if quality == LOSSLESS:
        if container == "webm":
            raise ValueError(f"--quality {LOSSLESS}: webm has no lossless RGB; choose mkv, or quality 99")
        if container == "mkv":
            return Coding("ffv1", {"level": "3", "slices": "4", "slicecrc": "1"}, True, "FFV1")
        return Coding("libx264rgb", {"crf": "0"}, True, "H.264 in RGB")
    worst, default = (
        (_VP9_QUALITIES, _VP9_DEFAULT) if container == "webm" else (_H264_QUALITIES, _H264_DEFAULT)
    )
    crf = default if quality is None else max(1, round((LOSSLESS - quality) * worst / (LOSSLESS - 1)))
    if container == "webm":
        options = {"crf": str(crf), "b": "0", "row-mt": "1", "cpu-used": "2"}
        return Coding("libvpx-vp9", options, False, "VP9")
    return Coding("libx264", {"crf": str(crf)}, False, "H.264")


class Sampling(NamedTuple):
    """Depth and chroma of a video.

    Attributes:
        bits: per sample.
        chroma: 420, 422 or 444.
    """

    bits: int
    chroma: int

    @property
    def even(self) -> tuple[bool, bool]:
        """Whether width and height must be even."""
        return self.chroma != 444, self.chroma == 420

    @property
    def pixel_format(self) -> str:
        """The name of the YUV format in FFmpeg."""
        return f"yuv{self.chroma}p" + ("" if self.bits == 8 else f"{self.bits}le")


def check_even(size: tuple[int, int], sampling: Sampling, shown: tuple[int, int], *, turned: bool) -> None:
    """Check that an output can be encoded.

    Args:
        size: (width, height) as stored.
        sampling: of the output.
        shown: (width, height) as displayed, for the message.
        turned: whether width and height are exchanged for display.

    Raises:
        ValueError: a side is odd that must be even.
    """
    fitting = tuple(n + n % 2 * must for n, must in zip(size, sampling.even, strict=True))
    if fitting == size:
        return
    width, height = fitting[::-1] if turned else fitting
    raise ValueError(
        f"the output would be {shown[0]}x{shown[1]}, but {sampling.pixel_format} needs even sides; give "
        f"--size {width}x{height}, or --quality {LOSSLESS} for lossless RGB"
    )
