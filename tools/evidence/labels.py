"""Place labels beside the points of a plot with little overlap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

# Candidate positions in order of preference: offset in points, and alignment of the text.
_POSITIONS = [
    (x, y, ha, va)
    for step in (1, 2, 3)
    for x, y, ha, va in (
        (0, 7 * step, "center", "bottom"),
        (0, -7 * step, "center", "top"),
        (8 * step, 0, "left", "center"),
        (-8 * step, 0, "right", "center"),
        (6 * step, 6 * step, "left", "bottom"),
        (6 * step, -6 * step, "left", "top"),
        (-6 * step, 6 * step, "right", "bottom"),
        (-6 * step, -6 * step, "right", "top"),
    )
]


class Label(NamedTuple):
    """The label of a point."""

    text: str
    point: tuple[float, float]
    colour: str


def write_labels(axes: Axes, labels: Sequence[Label], *, size: float = 8) -> None:
    """Write each label at the position with the least overlap with labels and curves.

    The axes must have their final position and limits.

    Args:
        axes: the plot.
        labels: the labels.
        size: size of the font in points.
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
            fontsize=size,
            fontweight="bold",
        )
        extent = np.asarray(text.get_window_extent().size)
        anchor = axes.transData.transform(label.point)
        boxes = [_box(anchor, extent, position, axes.figure.dpi / 72) for position in _POSITIONS]
        costs = [_cost(box, taken, drawn, axes.bbox) for box in boxes]
        best = costs.index(min(costs))
        x, y, ha, va = _POSITIONS[best]
        text.set(position=(x, y), horizontalalignment=ha, verticalalignment=va)
        taken.append(boxes[best])


def _box(
    anchor: np.ndarray, size: np.ndarray, position: tuple[float, float, str, str], pixels_per_point: float
) -> Bbox:
    """Return the box of a text of size (width, height) at a position, in pixels."""
    x, y, ha, va = position
    left = anchor[0] + x * pixels_per_point - size[0] * {"left": 0, "center": 0.5, "right": 1}[ha]
    bottom = anchor[1] + y * pixels_per_point - size[1] * {"bottom": 0, "center": 0.5, "top": 1}[va]
    return Bbox.from_bounds(left, bottom, *size)


def _cost(box: Bbox, taken: Sequence[Bbox], drawn: np.ndarray, inside: Bbox) -> float:
    """Return the cost of a box: overlaps with labels, points outside the axes, and covered curves."""
    overlaps = sum(box.overlaps(other.padded(2)) for other in taken)
    low, high = np.asarray(box.min) - 2, np.asarray(box.max) + 2
    points = ((drawn > low) & (drawn < high)).all(axis=1).sum()
    outside = box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1
    return 1000 * overlaps + 300 * outside + points


def _filled(points: np.ndarray) -> np.ndarray:
    """Add interpolated points to the points (N, 2) of a line."""
    between = np.linspace(0, 1, 8, endpoint=False)[:, None, None]  # (8, 1, 1)
    inner = points[:-1] + between * np.diff(points, axis=0)  # (8, N - 1, 2)
    return np.concatenate([inner.reshape(-1, 2), points])
