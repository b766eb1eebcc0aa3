"""Write and read small videos in tests."""

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason='pip install ".[video]"')

OPTIONS = {"ffv1": {}, "qtrle": {}}
MILLISECOND = Fraction(1, 1000)


def noise(count=5, width=24, height=18, dtype: type = np.uint8):
    rng = np.random.default_rng(width)
    return list(rng.integers(0, np.iinfo(dtype).max, (count, height, width, 3), dtype=dtype))


def write_video(
    path,
    frames,
    *,
    codec="ffv1",
    pixel_format="bgr0",
    times=None,
    audio=None,
    video=True,
    rotation=0,
    aspect=None,
    colours=None,
    title=None,
):
    """Write frames (h, w, 3), of uint8 or uint16.

    Args:
        path: the file.
        frames: the frames.
        codec, pixel_format: of the video.
        times: of the frames, in milliseconds.
        audio: codec of a second of audio, if any.
        video: whether there is a video stream.
        rotation: of the display, in degrees.
        aspect: the sample aspect ratio.
        colours: numbers of matrix, range, primaries and transfer.
        title: a tag.
    """
    times = times or [40 * number for number in range(len(frames))]
    with av.open(str(path), "w") as container:
        if title:
            container.metadata["title"] = title
        stream = None
        if video:
            options = OPTIONS.get(codec, {"crf": "0", "preset": "ultrafast"})
            stream = container.add_stream(codec, rate=Fraction(25), options=options)
            stream.height, stream.width = frames[0].shape[:2] if frames else (18, 24)
            stream.pix_fmt, stream.codec_context.time_base = pixel_format, MILLISECOND
            if rotation:
                stream.set_display_rotation(rotation)
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
            if colours:
                context = stream.codec_context
                context.colorspace, context.color_range = colours[:2]
                context.color_primaries, context.color_trc = colours[2:]
        sound = container.add_stream(audio, rate=48_000) if audio else None
        container.start_encoding()
        for pixels, time in zip(frames if video else [], times, strict=video):
            form = "rgb24" if pixels.dtype == np.uint8 else "rgb48le"
            frame = av.VideoFrame.from_ndarray(pixels, format=form).reformat(format=pixel_format)
            frame.pts, frame.time_base, frame.duration = time, MILLISECOND, 40
            assert stream is not None
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))
        if sound is not None:
            _write_sound(container, sound)
    return path


def _write_sound(container, stream):
    rng = np.random.default_rng(0)
    for number in range(24):
        samples = rng.integers(-9999, 9999, (1, 2 * 960), dtype=np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 960 * number, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def read_frames(path):
    """Return the frames of a video."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def rgb_frames(path, form="rgb24"):
    """Return the frames of a video that is stored as RGB, (h, w, 3) each."""
    return [frame.to_ndarray(format=form) for frame in read_frames(path)]


def seconds_of(path):
    """Return the times and the durations of the frames, in seconds."""
    return [(frame.pts * frame.time_base, frame.duration * frame.time_base) for frame in read_frames(path)]


def packets_of(path, kind):
    """Return content and time of the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.get(**{kind: 0})[0])
        return [(bytes(each), each.pts * each.time_base) for each in packets if each.size]
