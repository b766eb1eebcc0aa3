"""Parse `--scale` and `--size`. On the command line, the horizontal number comes first."""

import argparse
import math
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class TargetScale:
    """Horizontal (x) and vertical (y) scale, each at least 1."""

    x: float
    y: float

    @property
    def label(self) -> str:
        return f"x{self.x:g}" if self.x == self.y else f"x{self.x:g}x{self.y:g}"

    def output(self, width: int, height: int) -> tuple[float, float]:
        """Return the (width, height) of the output."""
        return width * self.x, height * self.y


@dataclass(frozen=True)
class TargetSize:
    """Displayed width and height in pixels."""

    width: int
    height: int

    @property
    def label(self) -> str:
        return f"{self.width}x{self.height}"

    def output(self, width: int, height: int) -> tuple[float, float]:
        """Return the (width, height) of the output."""
        return self.width, self.height


@dataclass(frozen=True)
class TargetSide:
    """Displayed width or height in pixels. The other side follows from the aspect ratio."""

    width: int | None = None
    height: int | None = None

    @property
    def label(self) -> str:
        return f"{self.width or ''}x{self.height or ''}"

    def output(self, width: int, height: int) -> tuple[float, float]:
        """Return the (width, height) of the output."""
        factor = (self.width or 0) / width or (self.height or 0) / height
        return width * factor, height * factor


def displayed_output_size(
    target: TargetScale | TargetSize | TargetSide,
    width: int,
    height: int,
    *,
    max_pixels: int,
    remedy: str = "choose a smaller output or raise --max-pixels",
) -> tuple[int, int]:
    """Return the displayed (width, height) of the output.

    Args:
        target: the requested scale or size.
        width, height: displayed size of the input.
        max_pixels: largest number of output pixels.
        remedy: end of the message if the output exceeds `max_pixels`.

    Raises:
        ValueError: the output is smaller than the input in one axis, or exceeds `max_pixels`.
    """
    columns, rows = (round(min(side, sys.maxsize)) for side in target.output(width, height))
    if columns < width or rows < height:  # possible only with --size
        raise ValueError(
            f"--size {target.label} is smaller than the picture, {width}x{height}; give a larger size"
        )
    if columns * rows > max_pixels:
        raise ValueError(
            f"the output of {width}x{height} would be {columns}x{rows}, more than {max_pixels} pixels; "
            f"{remedy}"
        )
    return columns, rows


def parse_scale(text: str) -> TargetScale:
    """Parse ``3.7`` or ``2x3.5`` (horizontal x vertical)."""
    try:
        factors = [float(part) for part in text.lower().split("x")]
    except ValueError:
        factors = []
    if len(factors) not in (1, 2):
        raise argparse.ArgumentTypeError(f"'{text}' is not a scale; give 3.7, or 2x3.5 for width and height")
    if not all(math.isfinite(factor) and factor >= 1 for factor in factors):
        raise argparse.ArgumentTypeError(f"'{text}' does not enlarge; give finite scales of at least 1")
    return TargetScale(x=factors[0], y=factors[-1])


def parse_target(text: str) -> TargetSize | TargetSide:
    """Parse ``1920x1080``, or ``1920x`` or ``x1080``, which keep the aspect ratio."""
    width, cross, height = text.lower().partition("x")
    if cross and not (width and height) and _is_length(width or height):
        return TargetSide(width=int(width)) if width else TargetSide(height=int(height))
    try:
        return parse_size(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or 1920x or x1080 to keep the aspect ratio") from None


def parse_size(text: str) -> TargetSize:
    """Parse ``1920x1080`` (width x height)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(map(_is_length, parts)):
        raise argparse.ArgumentTypeError(f"'{text}' is not a size; give WIDTHxHEIGHT, as in 1920x1080")
    return TargetSize(int(parts[0]), int(parts[1]))


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
