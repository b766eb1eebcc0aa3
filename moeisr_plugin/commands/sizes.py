"""Parse `--scale`, `--size`, `--long-side` and `--short-side`. Widths come before heights."""

import argparse
import math
import sys
from dataclasses import dataclass
from typing import ClassVar

from moeisr_plugin.commands.counts import parse_positive


@dataclass(frozen=True)
class TargetScale:
    """Horizontal (x) and vertical (y) scale, each at least 1 unless it is that of a window."""

    x: float
    y: float
    fixed: ClassVar[bool] = False

    @property
    def label(self) -> str:
        return f"x{self.x:g}" if self.x == self.y else f"x{self.x:g}x{self.y:g}"

    @property
    def option(self) -> str:
        return f"--scale {self.label[1:]}"

    @property
    def enlarges(self) -> bool:
        return min(self.x, self.y) >= 1

    def output(self, width: float, height: float) -> tuple[float, float]:
        """Return the (width, height) of the output."""
        return width * self.x, height * self.y


@dataclass(frozen=True)
class TargetSize:
    """Displayed width and height in pixels."""

    width: int
    height: int
    fixed: ClassVar[bool] = True

    @property
    def label(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def option(self) -> str:
        return f"--size {self.label}"

    def output(self, width: float, height: float) -> tuple[float, float]:
        """Return the (width, height) of the output."""
        return self.width, self.height


@dataclass(frozen=True)
class TargetSide:
    """Displayed width or height in pixels. The other side follows from the aspect ratio."""

    width: int | None = None
    height: int | None = None
    fixed: ClassVar[bool] = True

    @property
    def label(self) -> str:
        return f"{self.width or ''}x{self.height or ''}"

    @property
    def option(self) -> str:
        return f"--size {self.label}"

    def output(self, width: float, height: float) -> tuple[float, float]:
        """Return the (width, height) of the output."""
        factor = (self.width or 0) / width or (self.height or 0) / height
        return width * factor, height * factor


@dataclass(frozen=True)
class TargetLongSide:
    """Length of the longer displayed side in pixels. The other side follows from the aspect ratio."""

    pixels: int
    fixed: ClassVar[bool] = True

    @property
    def label(self) -> str:
        return f"long{self.pixels}"

    @property
    def option(self) -> str:
        return f"--long-side {self.pixels}"

    def output(self, width: float, height: float) -> tuple[float, float]:
        """Return the (width, height) of the output."""
        factor = self.pixels / max(width, height)
        return width * factor, height * factor


@dataclass(frozen=True)
class TargetShortSide:
    """Length of the shorter displayed side in pixels. The other side follows from the aspect ratio."""

    pixels: int
    fixed: ClassVar[bool] = True

    @property
    def label(self) -> str:
        return f"short{self.pixels}"

    @property
    def option(self) -> str:
        return f"--short-side {self.pixels}"

    def output(self, width: float, height: float) -> tuple[float, float]:
        """Return the (width, height) of the output."""
        factor = self.pixels / min(width, height)
        return width * factor, height * factor


Target = TargetScale | TargetSize | TargetSide | TargetLongSide | TargetShortSide
"""What an output is to be. `fixed` means that its size does not depend on the size of the input."""


class AlreadyLargeError(ValueError):
    """A picture is at least as large as the requested size."""


def displayed_output_size(
    target: Target,
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
        AlreadyLargeError: a requested size is not larger than the input.
        ValueError: the output is smaller than the input in one axis, or exceeds `max_pixels`.
    """
    columns, rows = _rounded(target.output(width, height))
    if target.fixed and columns <= width and rows <= height:
        compared = "as large as" if (columns, rows) == (width, height) else "smaller than"
        raise AlreadyLargeError(
            f"{target.option} is {compared} the picture, {width}x{height}; give a larger size"
        )
    if columns < width or rows < height:  # possible only with a width and a height
        raise ValueError(f"{target.option} is smaller than the picture, {width}x{height}; give a larger size")
    _check_limit(columns * rows, f"{width}x{height} would be {columns}x{rows}", max_pixels, remedy)
    return columns, rows


def displayed_window_size(target: Target, extent: tuple[float, float], *, max_pixels: int) -> tuple[int, int]:
    """Return the displayed (width, height) of the output of a window, which may also be reduced.

    Args:
        target: the requested scale or size.
        extent: displayed width and height of the window. Both may be fractions.
        max_pixels: largest number of output pixels.

    Raises:
        ValueError: the output exceeds `max_pixels`.
    """
    columns, rows = (max(1, side) for side in _rounded(target.output(*extent)))
    shown = "{:g}x{:g}".format(*extent)
    _check_limit(
        columns * rows,
        f"a window of {shown} would be {columns}x{rows}",
        max_pixels,
        "choose a smaller output or raise --max-pixels",
    )
    return columns, rows


def _rounded(output: tuple[float, float]) -> tuple[int, int]:
    columns, rows = (round(min(side, sys.maxsize)) for side in output)
    return columns, rows


def _check_limit(pixels: int, output: str, max_pixels: int, remedy: str) -> None:
    if pixels > max_pixels:
        raise ValueError(f"the output of {output}, more than {max_pixels} pixels; {remedy}")


def parse_scale(text: str, *, reducing: bool = False) -> TargetScale:
    """Parse ``3.7`` or ``2x3.5`` (horizontal x vertical).

    Args:
        text: the scale.
        reducing: whether scales below 1 are accepted.
    """
    try:
        factors = [float(part) for part in text.lower().split("x")]
    except ValueError:
        factors = []
    if len(factors) not in (1, 2):
        raise argparse.ArgumentTypeError(f"'{text}' is not a scale; give 3.7, or 2x3.5 for width and height")
    if not all(math.isfinite(factor) and (factor >= 1 or (reducing and factor > 0)) for factor in factors):
        raise argparse.ArgumentTypeError(f"'{text}' does not enlarge; give finite scales of at least 1")
    return TargetScale(x=factors[0], y=factors[-1])


def parse_any_scale(text: str) -> TargetScale:
    """Parse a scale of a window, which may also be reduced."""
    return parse_scale(text, reducing=True)


def parse_target(text: str) -> TargetSize | TargetSide:
    """Parse ``1920x1080``, or ``1920x`` or ``x1080``, which keep the aspect ratio."""
    width, cross, height = text.lower().partition("x")
    if cross and not (width and height) and _is_length(width or height):
        return TargetSide(width=int(width)) if width else TargetSide(height=int(height))
    try:
        return parse_size(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or 1920x or x1080 to keep the aspect ratio") from None


def parse_long_side(text: str) -> TargetLongSide:
    """Parse a length in pixels."""
    return TargetLongSide(parse_positive(text))


def parse_short_side(text: str) -> TargetShortSide:
    """Parse a length in pixels."""
    return TargetShortSide(parse_positive(text))


def parse_size(text: str) -> TargetSize:
    """Parse ``1920x1080`` (width x height)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(map(_is_length, parts)):
        raise argparse.ArgumentTypeError(f"'{text}' is not a size; give WIDTHxHEIGHT, as in 1920x1080")
    return TargetSize(int(parts[0]), int(parts[1]))


def targets_of_label(label: str, *, of_window: bool = False) -> list[Target]:
    """Return the targets that have this label, such as ``x3.7``. ``x1080`` is a scale or a height.

    Args:
        label: the label.
        of_window: whether it is that of a window, which may also be reduced.
    """
    found: list[Target] = []
    for start, parse in (
        ("x", parse_any_scale if of_window else parse_scale),
        ("", parse_target),
        ("long", parse_long_side),
        ("short", parse_short_side),
    ):
        try:
            target = parse(label.removeprefix(start))
        except argparse.ArgumentTypeError:
            continue
        if target.label == label:
            found.append(target)
    return found


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
