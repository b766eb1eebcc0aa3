"""Enlarge a clip: read its frames, enlarge each, and write them with copies of its other streams."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from moeisr_plugin.utils.atomic import atomic_write
from moeisr_plugin.video.colours import to_rgb
from moeisr_plugin.video.formats import CONTAINERS, Coding, container_of
from moeisr_plugin.video.library import errors_of_av, require_av
from moeisr_plugin.video.probing import Clip
from moeisr_plugin.video.reader import opened, packets_and_frames
from moeisr_plugin.video.writer import Encoded, Writer

_UNWRITABLE = "cannot be written as a video ({reason}); choose another suffix, as in -o NAME.mkv"


def enlarge_clip(
    clip: Clip,
    output: Path,
    size: tuple[int, int],
    enlarge: Callable[[np.ndarray], np.ndarray],
    *,
    coding: Coding,
    accept_damaged: bool = False,
    threads: int | None = None,
    on_frame: Callable[[int], object] | None = None,
    note: Callable[[str], object] | None = None,
) -> int:
    """Write an enlarged copy of a clip. Audio and subtitles are copied, and all times are kept.

    The output appears under its name only when it is complete.

    Args:
        clip: the clip.
        output: the file to write.
        size: (H, W) of the enlarged frames, as stored.
        enlarge: enlarges a frame, (h, w, 3) uint8 or uint16, to (H, W, 3) of the same type.
        coding: the codec.
        accept_damaged: whether damaged frames are taken, and left out if they cannot be decoded.
        threads: threads of decoder and encoder. None for one per core.
        on_frame: called after each frame with the number of frames.
        note: called with a line on each stream that is left out.

    Returns:
        The number of frames.

    Raises:
        ValueError: a frame is damaged or has another size, or the container does not hold a stream.
        OSError: the file cannot be written.
    """
    av = require_av()
    encoded = Encoded(coding, clip.sampling)
    frames = 0
    with (
        opened(clip, threads=threads) as source,
        atomic_write(output) as file,
        errors_of_av(output, _UNWRITABLE),
        av.open(file, "w", format=CONTAINERS[container_of(output)]) as target,
    ):
        writer = Writer(target, output, source, clip, size, coding, encoded, threads=threads)
        for line in writer.notes if note else []:
            note(line)
        for item in packets_and_frames(source, clip, writer.copied, accept_damaged=accept_damaged):
            if not isinstance(item, av.VideoFrame):
                writer.copy(item)
                continue
            writer.write(enlarge(to_rgb(item, clip.colours, deep=encoded.deep)), item)
            frames += 1
            if on_frame is not None:
                on_frame(frames)
        if not frames:
            raise ValueError(f"{clip.path}: has no whole frame; give another file")
        writer.finish()
    return frames


def seconds_per_frame(clip: Clip, enlarge: Callable[[np.ndarray], np.ndarray]) -> float:
    """Measure how long a frame takes of which all tiles changed.

    The first run is not measured, because it includes preparations that other frames do not repeat.
    """
    with opened(clip, threads=None) as source:
        frame = next(packets_and_frames(source, clip, [], accept_damaged=True), None)
    if frame is None:
        return 0.0
    pixels = to_rgb(frame, clip.colours, deep=False)
    enlarge(pixels)
    start = time.perf_counter()
    enlarge(~pixels)  # no tile is kept
    return time.perf_counter() - start
