"""Views: a window of a picture at the size of the screen, plain or by a network."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from moeisr_plugin.pictures import Picture, stored_window, upright
from moeisr_plugin.web.encodings import Routed
from moeisr_plugin.web.held_pictures import HeldPicture
from moeisr_plugin.web.limits import Limits
from moeisr_plugin.web.networks import palette
from moeisr_plugin.web.refused import RefusedError, StoppedError
from moeisr_plugin.web.shown import palette_png, shown_pixels

PLAIN = {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}
"""The methods that need no network."""

_BEYOND = 1e-3
"""Pixels by which a window may reach beyond the picture, because browsers round."""


class Edges(NamedTuple):
    """A window in pixels of the picture as displayed. Edges may be fractions."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def pixels(self) -> tuple[slice, slice]:
        """The rows and columns that the window touches."""
        return (
            slice(math.floor(self.top), math.ceil(self.bottom)),
            slice(math.floor(self.left), math.ceil(self.right)),
        )


class View(NamedTuple):
    """A window, and the (H, W) at which it is shown."""

    window: Edges
    size: tuple[int, int]


def parse_view(window: str, size: str, held: HeldPicture, limits: Limits) -> View:
    """Parse ``top,left,bottom,right`` and ``WIDTHxHEIGHT``.

    Raises:
        RefusedError: they have another form, leave the picture, or are too large.
    """
    edges = parse_window(window, held)
    width, cross, height = size.partition("x")
    if not (cross and _is_length(width) and _is_length(height)):
        raise RefusedError("size is not WIDTHxHEIGHT; give two whole numbers of pixels, as in 960x540")
    columns, rows = int(width), int(height)
    if columns * rows > limits.view_pixels:
        raise RefusedError(f"a view has at most {limits.view_pixels} pixels; give a smaller size")
    return View(edges, (rows, columns))


def parse_window(window: str, held: HeldPicture) -> Edges:
    """Parse ``top,left,bottom,right`` in pixels of the picture as displayed.

    Raises:
        RefusedError: it has another form, or leaves the picture.
    """
    try:
        numbers = [float(part) for part in window.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise RefusedError("window is not top,left,bottom,right; give four finite numbers")
    (top, left, bottom, right), (height, width) = numbers, held.size
    if min(top, left) < -_BEYOND or bottom > height + _BEYOND or right > width + _BEYOND:
        raise RefusedError(f"the window leaves the picture of {width}x{height}; give edges within it")
    edges = Edges(max(0.0, top), max(0.0, left), min(bottom, float(height)), min(right, float(width)))
    if edges.top >= edges.bottom or edges.left >= edges.right:
        raise RefusedError("the window is empty; give a bottom beyond the top, and a right beyond the left")
    return edges


def plain_view(held: HeldPicture, view: View, method: str) -> np.ndarray:
    """Return a view by a method of `PLAIN`, (H, W, 3) or (H, W, 4) uint8. Reducing averages areas."""
    top, left, bottom, right = view.window
    rows, columns = view.size
    shown = Image.fromarray(held.shown)
    reduces = bottom - top > rows or right - left > columns
    filtering = Image.Resampling.BOX if reduces and method == "nearest" else PLAIN[method]
    return np.asarray(shown.resize((columns, rows), filtering, box=(left, top, right, bottom)))


def network_view(
    held: HeldPicture, routed: Routed, view: View, is_stale: Callable[[], bool]
) -> tuple[np.ndarray, float]:
    """Return a view by a network, and the seconds that it took.

    Args:
        held: the picture.
        routed: its encoding.
        view: the window and its size.
        is_stale: asked between bands whether the view is still waited for.

    Returns:
        (H, W, 3) or (H, W, 4) uint8, and seconds of decoding.

    Raises:
        StoppedError: nobody waits for the view any longer.
    """
    picture = held.picture
    window, size = stored_view(view, picture)
    start = time.perf_counter()
    bands = []
    if is_stale():
        raise StoppedError
    for band in routed.encoded.render_bands(window=window, size=size):
        if is_stale():
            raise StoppedError
        bands.append(band)
    seconds = time.perf_counter() - start
    return shown_pixels(np.concatenate(bands), picture), seconds


def stored_view(view: View, picture: Picture) -> View:
    """Return a view in stored rows and columns, to which the EXIF orientation is not applied."""
    size = (view.size[1], view.size[0]) if picture.swaps_axes else view.size
    width, height = picture.oriented_size(picture.pixels.shape[:2])
    edges = stored_window(view.window, (height, width), picture.orientation)
    return View(Edges(*edges), size)


def map_view(held: HeldPicture, routed: Routed, window: Edges, limits: Limits) -> tuple[bytes, Edges]:
    """Return the expert map of a window as PNG, and the edges of what it shows.

    It has a pixel for each LR pixel that the window touches, or for every n-th of a large window.

    Raises:
        RefusedError: the network has no mixture of experts.
    """
    if routed.experts is None:
        raise RefusedError("this network has one expert, so it has no expert map; choose a mixture")
    rows, columns = window.pixels
    experts = upright(routed.experts, held.picture.orientation)[rows, columns]
    step = math.ceil(math.sqrt(experts.size / limits.view_pixels)) if experts.size > limits.view_pixels else 1
    colours = palette(routed.upscaler.net.num_experts)
    shown = Edges(rows.start, columns.start, rows.stop, columns.stop)
    return palette_png(experts[::step, ::step], colours), shown


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > 0
