"""The common frame of plots of PSNR against a cost."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # draws without a display

from evidence.labels import Label, write_labels
from evidence.style import STYLE
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from PIL import Image

PLOT_STYLE = {**STYLE, "font.size": 15}


def begin(height: float) -> tuple[Any, Any]:
    """Return a figure of 10 inches by `height`, and its axes with a logarithmic cost."""
    figure, axes = plt.subplots(figsize=(10, height), layout="constrained")
    axes.set_xscale("log")
    axes.grid(True, color="#e4e4e4")
    axes.set_axisbelow(True)
    return figure, axes


def number_costs(axes: Any, *, margins: tuple[float, float]) -> None:
    """Set the margins, and numbers of the cost that are readable. Call it when all points are drawn."""
    axes.margins(*margins)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,), numticks=20))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def finish(figure: Any, axes: Any, labels: Sequence[Label]) -> bytes:
    """Write the labels of the points. Return a PNG with few colours, on white for dark pages."""
    figure.draw_without_rendering()  # gives the axes their final position
    write_labels(axes, labels, size=14)
    content = io.BytesIO()
    figure.savefig(content, dpi=100, metadata={"Software": None})
    plt.close(figure)
    palette = Image.open(content).convert("RGB").quantize(96)
    small = io.BytesIO()
    palette.save(small, "PNG", optimize=True)
    return small.getvalue()
