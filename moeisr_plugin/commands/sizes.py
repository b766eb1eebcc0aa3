"""What `--scale` and `--size` ask for: the horizontal number always comes first."""

import argparse
import math
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Horizontal and vertical enlargement, each at least 1."""

    x: float
    y: float

    @property
    def label(self) -> str:
        return f"x{self.x:g}" if self.x == self.y else f"x{self.x:g}x{self.y:g}"

    def output(self, width: int, height: int) -> tuple[float, float]:
        return width * self.x, height * self.y


@dataclass(frozen=True)
class Size:
    """Output width and height in pixels, as displayed."""

    width: int
    height: int

    @property
    def label(self) -> str:
        return f"{self.width}x{self.height}"

    def output(self, width: int, height: int) -> tuple[float, float]:
        return self.width, self.height


@dataclass(frozen=True)
class Side:
    """Output width or height in pixels, as displayed; the other one keeps the picture's shape."""

    width: int | None = None
    height: int | None = None

    @property
    def label(self) -> str:
        return f"{self.width or ''}x{self.height or ''}"

    def output(self, width: int, height: int) -> tuple[float, float]:
        factor = (self.width or 0) / width or (self.height or 0) / height
        return width * factor, height * factor


def output_size(
    target: Scale | Size | Side,
    width: int,
    height: int,
    *,
    max_pixels: int,
    remedy: str = "choose a smaller output or raise --max-pixels",
) -> tuple[int, int]:
    """The (width, height) of an enlarged picture of the displayed size (width, height).

    Raises:
        ValueError: it would shrink in one axis, or exceed `max_pixels`, for which there is a `remedy`.
    """
    columns, rows = (round(min(side, sys.maxsize)) for side in target.output(width, height))
    if columns < width or rows < height:  # no scale does
        raise ValueError(
            f"--size {target.label} is smaller than the picture, {width}x{height}; moeisr enlarges only"
        )
    if columns * rows > max_pixels:
        raise ValueError(
            f"{width}x{height} would become {columns}x{rows}, more than {max_pixels} pixels; {remedy}"
        )
    return columns, rows


def parse_scale(text: str) -> Scale:
    """Reads ``3.7`` or ``2x3.5`` (horizontal x vertical)."""
    try:
        factors = [float(part) for part in text.lower().split("x")]
    except ValueError:
        factors = []
    if len(factors) not in (1, 2):
        raise argparse.ArgumentTypeError(f"'{text}' is no scale; write 3.7, or 2x3.5 for width and height")
    if not all(math.isfinite(factor) and factor >= 1 for factor in factors):
        raise argparse.ArgumentTypeError(f"'{text}' does not enlarge; give finite scales of at least 1")
    return Scale(factors[0], factors[-1])


def parse_target(text: str) -> Size | Side:
    """Reads ``1920x1080``, or ``1920x`` or ``x1080`` alone, which keep the shape."""
    width, cross, height = text.lower().partition("x")
    if cross and not (width and height) and _is_length(width or height):
        return Side(width=int(width)) if width else Side(height=int(height))
    try:
        return parse_size(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or 1920x or x1080 to keep the shape") from None


def parse_size(text: str) -> Size:
    """Reads ``1920x1080`` (width x height)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(map(_is_length, parts)):
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write WIDTHxHEIGHT, as in 1920x1080")
    return Size(int(parts[0]), int(parts[1]))


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
