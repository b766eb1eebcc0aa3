"""Find out what a video is, before its frames are enlarged."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moeisr_plugin.utils.regular_files import require_file
from moeisr_plugin.video.colours import Colours, colours_of, has_alpha, sampling_of
from moeisr_plugin.video.formats import Sampling
from moeisr_plugin.video.library import errors_of_av, require_av

if TYPE_CHECKING:
    import av

# Seconds that the streams of a complete file may end before the duration that it states.
_MISSING = 0.5
UNREADABLE = "cannot be read as a video ({reason}); check that it is complete, or give another file"
"""A message for `errors_of_av`."""


@dataclass(frozen=True)
class Clip:
    """What is known of a video before its frames are enlarged.

    Attributes:
        path: the file.
        width, height: of a frame as stored.
        rotation: degrees by which a player turns the frames counterclockwise.
        frames: number of frames, as far as the container tells.
        seconds: until the last stream ends.
        sampling: depth and chroma.
        colours: what the video states of its colours.
        notes: one line on each property that is lost or may surprise.
    """

    path: Path
    width: int
    height: int
    rotation: int
    frames: int
    seconds: float
    sampling: Sampling
    colours: Colours
    notes: tuple[str, ...]

    @property
    def turned(self) -> bool:
        """Whether a player exchanges width and height."""
        return self.rotation % 180 != 0

    def oriented(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return stored (width, height) as displayed, or displayed ones as stored."""
        return (size[1], size[0]) if self.turned else size


def read_clip(path: Path, *, max_pixels: int, accept_truncated: bool = False) -> Clip:
    """Read a video without decoding more than its first frame.

    Args:
        path: the file.
        max_pixels: limit of a frame.
        accept_truncated: whether files that lack their end are read, with a note.

    Raises:
        ValueError: the file is no video, has no frame, is damaged or too large, or lacks its end.
    """
    _require_file(path)
    with errors_of_av(path, UNREADABLE), require_av().open(str(path)) as container:
        stream = video_stream(container, path)
        _check_pixels(path, stream, max_pixels)
        first, frames, end = _scanned(container, stream)
        if first is None:
            raise ValueError(f"{path}: has no frames; check that it is complete, or give another file")
        missing = _missing_seconds(container, end)
        notes = list(_notes(container, stream, first))
        if missing:
            lacks = f"lacks its end: it stops after {end:.1f} s, {missing:.1f} s early"
            if not accept_truncated:
                raise ValueError(f"{path}: {lacks}; add --accept-truncated to enlarge what is there")
            notes.append(lacks)
        try:
            colours = colours_of(first)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return Clip(
            path=path,
            width=first.width,
            height=first.height,
            rotation=first.rotation,
            frames=frames,
            seconds=end,
            sampling=sampling_of(first.format),
            colours=colours,
            notes=tuple(notes),
        )


def video_stream(container: Any, path: Path) -> Any:
    """Return the video stream of a container that is not a cover picture.

    Raises:
        ValueError: there is none, or no decoder for it.
    """
    streams = [each for each in container.streams.video if not _is_cover(each)]
    if not streams:
        raise ValueError(f"{path}: has no video stream; give a video")
    if streams[0].codec_context is None:
        raise ValueError(f"{path}: its video codec is not supported; convert it to H.264 first")
    return streams[0]


def _require_file(path: Path) -> None:
    try:
        require_file(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _is_cover(stream: Any) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _check_pixels(path: Path, stream: Any, max_pixels: int) -> None:
    if stream.width * stream.height > max_pixels:
        raise ValueError(
            f"{path}: {stream.width}x{stream.height} is more than the limit of {max_pixels} pixels; "
            "raise --max-pixels"
        )


def _scanned(container: Any, stream: Any) -> tuple["av.VideoFrame | None", int, float]:
    """Return the first frame, the number of packets of the video, and the time at which all streams end."""
    first, packets, end = None, 0, Fraction(0)
    for packet in container.demux():
        is_video = packet.stream is stream
        if packet.pts is not None:
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if is_video and packet.size:
            packets += 1
        if is_video and first is None:
            first = _decoded(packet)
    return first, packets, float(end)


def _decoded(packet: Any) -> "av.VideoFrame | None":
    try:
        return next((frame for frame in packet.decode() if not frame.is_corrupt), None)
    except require_av().error.InvalidDataError:
        return None  # the first frame may be another one


def _missing_seconds(container: Any, end: float) -> float:
    """Return how much earlier than stated all streams end, or 0 if this is little."""
    if container.duration is None:
        return 0.0
    micro = 1_000_000
    stated, start = container.duration / micro, (container.start_time or 0) / micro
    missing = stated - max(end, end - start)
    return missing if missing > _MISSING else 0.0


def _notes(container: Any, stream: Any, first: "av.VideoFrame") -> Iterator[str]:
    if has_alpha(first.format):
        yield "transparency is dropped; videos are written without it"
    if first.interlaced_frame:
        yield "is interlaced, so that comb lines are enlarged; deinterlace it first"
    if first.rotation % 90:
        yield f"is turned by {first.rotation} degrees; sizes refer to the frames before turning"
    others = sum(each is not stream and not _is_cover(each) for each in container.streams.video)
    if others:
        yield f"has {others + 1} video streams; the first is enlarged, others are left out"
