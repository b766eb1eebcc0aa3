"""Write videos: frames that are encoded, and streams that are copied."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moeisr_plugin.video.colours import from_rgb
from moeisr_plugin.video.formats import Coding, Sampling, container_of
from moeisr_plugin.video.library import require_av
from moeisr_plugin.video.probing import Clip, video_stream

if TYPE_CHECKING:
    import av

# Tags that describe the file itself, or its encoder.
_OF_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder", "vendor_id", "rotate")
_STATISTICS = ("DURATION", "BPS", "NUMBER_OF_", "_STATISTICS")
_DEFAULT_RATE = Fraction(25)


class Encoded:
    """What the frames of an output are stored as.

    Args:
        coding: the codec.
        sampling: of the input.

    Attributes:
        sampling: of the output.
        deep: whether it holds more than 8 bits per sample.
        pixel_format: its name in FFmpeg.
    """

    def __init__(self, coding: Coding, sampling: Sampling) -> None:
        known = {form.name for form in require_av().codec.Codec(coding.codec, "w").video_formats or []}
        deep = sampling._replace(bits=10)
        if coding.is_rgb:
            self.deep = sampling.bits > 8 and "rgb48le" in known
            self.sampling = Sampling(16 if self.deep else 8, 444)
            eight = "rgb24" if "rgb24" in known else "bgr0"
            self.pixel_format = "rgb48le" if self.deep else eight
        else:
            self.deep = sampling.bits > 8 and deep.pixel_format in known
            self.sampling = deep if self.deep else sampling._replace(bits=8)
            self.pixel_format = self.sampling.pixel_format


class Writer:
    """Write the frames of a clip, and copies of its other streams, to an open container.

    Args:
        target: the container.
        path: its path, for messages.
        source: the open container of the clip.
        clip: the clip.
        size: (H, W) of the frames.
        coding: the codec.
        encoded: what frames are stored as.
        threads: threads of the codec. None for one per core.

    Attributes:
        copied: the streams of the source whose packets are copied.
        notes: one line on each stream that is left out.

    Raises:
        ValueError: the container does not hold the audio.
    """

    def __init__(
        self,
        target: Any,
        path: Path,
        source: Any,
        clip: Clip,
        size: tuple[int, int],
        coding: Coding,
        encoded: Encoded,
        *,
        threads: int | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._target, self._path, self._clip = target, path, clip
        self._pixel_format, self._last = encoded.pixel_format, None
        target.metadata.update(_tags(source.metadata))
        self._stream = self._add_video(video_stream(source, clip.path), size, coding)
        if threads is not None:
            self._stream.codec_context.thread_count = threads
        self._copies = self._add_copies(source)
        target.set_chapters(source.chapters())

    @property
    def copied(self) -> list[Any]:
        return list(self._copies)

    def write(self, pixels: np.ndarray, like: "av.VideoFrame") -> None:
        """Encode a frame, (H, W, 3), at the time of another one."""
        frame = from_rgb(pixels, self._pixel_format, self._clip.colours)
        pts = like.pts
        if self._last is not None and (pts is None or pts <= self._last):
            pts = self._last + max(1, like.duration or 0)  # encoders need increasing times
        self._last = frame.pts = pts or 0
        frame.time_base, frame.duration = like.time_base, like.duration
        self._target.mux(self._stream.encode(frame))

    def copy(self, packet: Any) -> None:
        """Write a packet of a stream that is copied."""
        packet.stream = self._copies[packet.stream]
        self._target.mux(packet)

    def finish(self) -> None:
        """Write the frames that the encoder holds back."""
        self._target.mux(self._stream.encode(None))

    def _add_video(self, source: Any, size: tuple[int, int], coding: Coding) -> Any:
        rate = source.guessed_rate or source.average_rate or _DEFAULT_RATE
        stream = self._target.add_stream(coding.codec, rate=rate, options=dict(coding.options))
        stream.height, stream.width = size
        stream.pix_fmt = self._pixel_format
        stream.time_base = source.time_base
        context, colours = stream.codec_context, self._clip.colours
        context.time_base = source.time_base
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        if not coding.is_rgb:
            context.colorspace, context.color_range = colours.matrix, colours.range
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        stream.metadata.update(_tags(source.metadata))
        if self._clip.rotation:
            if not hasattr(stream, "set_display_rotation"):  # before PyAV 17
                raise ValueError(f"{self._clip.path}: this PyAV cannot write its rotation; install av>=18")
            stream.set_display_rotation(self._clip.rotation)
        return stream

    def _add_copies(self, source: Any) -> dict[Any, Any]:
        copies = {}
        for stream in source.streams:
            if stream.type not in ("audio", "subtitle"):
                if stream.type != "video":
                    self.notes.append(f"a stream of {stream.type} is left out")
                continue
            try:
                copy = self._target.add_stream_from_template(stream)
            except ValueError as error:
                if stream.type == "audio":
                    raise ValueError(
                        f"{self._path}: {container_of(self._path)} does not hold its audio, {stream.name}; "
                        f"give -o {self._path.with_suffix('.mkv').name}"
                    ) from error
                self.notes.append(f"subtitles of the kind {stream.name} are left out; mkv holds them")
                continue
            copy.metadata.update(_tags(stream.metadata))
            copy.disposition = stream.disposition
            copies[stream] = copy
        return copies


def _tags(tags: dict[str, str]) -> dict[str, str]:
    """Return the tags that are true for an enlarged copy, too."""
    return {
        key: value
        for key, value in tags.items()
        if key.lower() not in _OF_FILE and not key.upper().startswith(_STATISTICS)
    }
