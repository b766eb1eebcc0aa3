"""Read the frames of a video, and the packets of its other streams, in the order of the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moeisr_plugin.video.library import errors_of_av, require_av
from moeisr_plugin.video.probing import UNREADABLE, Clip, video_stream

if TYPE_CHECKING:
    import av


@contextmanager
def opened(clip: Clip, *, threads: int | None) -> Iterator[Any]:
    """Open the container of a clip, whose video is decoded by all cores or by the given number of threads."""
    with errors_of_av(clip.path, UNREADABLE), require_av().open(str(clip.path)) as container:
        context = video_stream(container, clip.path).codec_context
        context.thread_type = "AUTO"
        if threads is not None:
            context.thread_count = threads
        yield container


def packets_and_frames(
    container: Any, clip: Clip, others: list[Any], *, accept_damaged: bool
) -> Iterator[Any]:
    """Yield the frames of the video, and the packets of other streams, in the order of the file.

    Args:
        container: of the clip.
        clip: the clip.
        others: the streams whose packets are yielded.
        accept_damaged: whether damaged frames are taken, and left out if they cannot be decoded.

    Raises:
        ValueError: a frame is damaged, or has another size or depth than the first.
    """
    invalid = require_av().error.InvalidDataError
    stream = video_stream(container, clip.path)
    seconds = 0.0
    with errors_of_av(clip.path, UNREADABLE):
        for packet in container.demux(stream, *others):
            if packet.stream is not stream:
                if packet.dts is not None:
                    yield packet
                continue
            try:
                frames = packet.decode()
            except invalid:
                frames = None
            if not accept_damaged and (frames is None or any(frame.is_corrupt for frame in frames)):
                raise ValueError(
                    f"{clip.path}: a frame after {seconds:.2f} s is damaged; add --accept-truncated to "
                    "enlarge what players show"
                )
            for frame in frames or []:
                seconds = frame.time or seconds
                _check_frame(clip, frame, seconds)
                yield frame


def _check_frame(clip: Clip, frame: "av.VideoFrame", seconds: float) -> None:
    if (frame.width, frame.height) != (clip.width, clip.height):
        raise ValueError(
            f"{clip.path}: its frames change from {clip.width}x{clip.height} to {frame.width}x{frame.height} "
            f"after {seconds:.2f} s; cut it there, or convert it to one size first"
        )
