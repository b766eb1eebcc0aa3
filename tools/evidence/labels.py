"""Names written beside points of a plot, where they cover the least."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

# Offsets in points, and the side of the text that they lead to; the sooner the better.
_PLACES = [
    (x, y, ha, va)
    for far in (1, 2, 3)
    for x, y, ha, va in (
        (0, 7 * far, "center", "bottom"),
        (0, -7 * far, "center", "top"),
        (8 * far, 0, "left", "center"),
        (-8 * far, 0, "right", "center"),
        (6 * far, 6 * far, "left", "bottom"),
        (6 * far, -6 * far, "left", "top"),
        (-6 * far, 6 * far, "right", "bottom"),
        (-6 * far, -6 * far, "right", "top"),
    )
]


class Label(NamedTuple):
    """A name for a point."""

    text: str
    point: tuple[float, float]
    colour: str


def write_labels(axes: Axes, labels: Sequence[Label]) -> None:
    """Writes each label where it covers no other and as little as possible of what is drawn.

    The panel must have its final place and limits.
    """
    drawn = np.concatenate(
        [axes.transData.transform(_filled(np.asarray(line.get_xydata()))) for line in axes.lines]
    )
    taken: list[Bbox] = []
    for label in labels:
        text = axes.annotate(
            label.text,
            label.point,
            textcoords="offset points",
            xytext=(0, 0),
            color=label.colour,
            fontsize=8,
            fontweight="bold",
        )
        size = np.asarray(text.get_window_extent().size)
        anchor = axes.transData.transform(label.point)
        boxes = [_box(anchor, size, place, axes.figure.dpi / 72) for place in _PLACES]
        costs = [_cost(box, taken, drawn, axes.bbox) for box in boxes]
        best = costs.index(min(costs))
        x, y, ha, va = _PLACES[best]
        text.set(position=(x, y), horizontalalignment=ha, verticalalignment=va)
        taken.append(boxes[best])


def _box(
    anchor: np.ndarray, size: np.ndarray, place: tuple[float, float, str, str], pixels_per_point: float
) -> Bbox:
    """Where a text of a size (width, height) would be, in pixels."""
    x, y, ha, va = place
    left = anchor[0] + x * pixels_per_point - size[0] * {"left": 0, "center": 0.5, "right": 1}[ha]
    bottom = anchor[1] + y * pixels_per_point - size[1] * {"bottom": 0, "center": 0.5, "top": 1}[va]
    return Bbox.from_bounds(left, bottom, *size)


def _cost(box: Bbox, taken: Sequence[Bbox], drawn: np.ndarray, inside: Bbox) -> float:
    """How bad a place is: what it covers, other names above all, and what of it is outside."""
    overlaps = sum(box.overlaps(other.padded(2)) for other in taken)
    low, high = np.asarray(box.min) - 2, np.asarray(box.max) + 2
    points = ((drawn > low) & (drawn < high)).all(axis=1).sum()
    outside = box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1
    return 1000 * overlaps + 300 * outside + points


def _filled(points: np.ndarray) -> np.ndarray:
    """Points (N, 2) of a line, and some between them."""
    between = np.linspace(0, 1, 8, endpoint=False)[:, None, None]  # (8, 1, 1)
    inner = points[:-1] + between * np.diff(points, axis=0)  # (8, N - 1, 2)
    return np.concatenate([inner.reshape(-1, 2), points])
