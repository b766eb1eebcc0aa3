"""Estimate the time and the memory of enlarging pictures, for `--dry-run`."""

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moeisr_plugin.commands.enlarging import Prepared, Settings, encode, rendered, write_rendered
from moeisr_plugin.commands.memory import layers_of, memory_of_output
from moeisr_plugin.utils.atomic import scratch_folder
from moeisr_plugin.utils.shortage import in_bytes

if TYPE_CHECKING:
    from moeisr_plugin.upscaler import Upscaler

SAMPLE_SIDE = 128
"""Side of the part of a picture on which the speed is measured, in pixels."""

PROGRAM_BYTES = 500 * 2**20
"""Memory of Python, PyTorch and a bundled network, and scratch memory of rendering, measured on a CPU."""


@dataclass(frozen=True)
class Speed:
    """Seconds per layer (colour or alpha) for a pixel of the input and for a pixel of the output."""

    encoding: float
    rendering: float

    def seconds(self, prepared: Prepared) -> float:
        """Return the estimated seconds of enlarging and writing a picture."""
        lr_pixels = math.prod(prepared.picture.pixels.shape[:2])
        pixels = math.prod(prepared.size)
        return layers_of(prepared.picture) * (lr_pixels * self.encoding + pixels * self.rendering)


class Estimate:
    """Estimated time and memory of enlarging pictures one after another.

    Args:
        upscaler: the network and its device.
        settings: how pictures are enlarged.
    """

    def __init__(self, upscaler: "Upscaler", settings: Settings) -> None:
        self.seconds = 0.0
        self.bytes = 0
        self._upscaler = upscaler
        self._settings = settings
        self._speed: Speed | None = None

    def add(self, prepared: Prepared) -> float:
        """Add a picture. The first one is the sample for the speed.

        Returns:
            The estimated seconds of this picture.
        """
        if self._speed is None:
            self._speed = measured_speed(prepared, self._upscaler, self._settings)
        seconds = self._speed.seconds(prepared)
        self.seconds += seconds
        self.bytes = max(self.bytes, estimated_bytes(prepared, self._upscaler))
        return seconds

    def __str__(self) -> str:
        return f"about {duration(self.seconds)} and {in_bytes(self.bytes)} of memory"


def measured_speed(prepared: Prepared, upscaler: "Upscaler", settings: Settings) -> Speed:
    """Measure the speed on a part of a picture, at its scale and in its format.

    A first run is not measured, because it includes preparations that a whole picture does not repeat.
    """
    from moeisr_plugin.render.window import Window, view_of  # needs torch, which parsing does not

    height, width = prepared.picture.pixels.shape[:2]
    rows, columns = min(height, SAMPLE_SIDE), min(width, SAMPLE_SIDE)
    top, left = (height - rows) // 2, (width - columns) // 2
    area = slice(top, top + rows), slice(left, left + columns)
    view = view_of((height, width), prepared.size, prepared.window)
    size = (
        max(1, round(rows * view.rows.total / height)),
        max(1, round(columns * view.columns.total / width)),
    )
    sample = replace(
        prepared,
        picture=replace(prepared.picture, pixels=prepared.picture.pixels[area]),
        like=replace(prepared.like, pixels=prepared.like.pixels[area]),
        size=size,
        window=None if prepared.window is None else Window(0, 0, rows, columns),
    )
    with scratch_folder() as folder:
        output = folder / f"sample{prepared.job.output.suffix}"
        for _ in range(2):
            start = time.perf_counter()
            encoded = encode(sample, upscaler, settings)
            encoding = time.perf_counter() - start
            write_rendered(output, sample, rendered(sample, encoded), quality=settings.quality)
            rendering = time.perf_counter() - start - encoding
    layers = layers_of(sample.picture)
    return Speed(encoding / (layers * rows * columns), rendering / (layers * math.prod(size)))


def estimated_bytes(prepared: Prepared, upscaler: "Upscaler") -> int:
    """Return the estimated memory of enlarging a picture, the program included."""
    work = memory_of_output(prepared.job.output, prepared.like, prepared.size, upscaler, prepared.window)
    return PROGRAM_BYTES + prepared.picture.pixels.nbytes + work


def duration(seconds: float) -> str:
    """Return a duration with two digits, such as ``3.2 s``, ``12 min`` or ``1.5 h``."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            number = seconds / length
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{max(seconds, 0.1):.1f} s"
