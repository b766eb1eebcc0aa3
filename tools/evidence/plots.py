"""Plot PSNR against cost."""

from collections.abc import Callable
from typing import NamedTuple

import matplotlib as mpl

mpl.use("Agg")  # draws without a display

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from evidence.labels import Label, write_labels
from evidence.reports import BICUBIC, Benchmark, Row
from evidence.style import STYLE

_FAINT, _BICUBIC = "#e4e4e4", "#8a8a8a"
_HUES = {
    "LIIF": "#2f6db5",
    "LTE": "#2a9d77",
    "MoEISR-LIIF-s": "#e07b00",
    "MoEISR-LIIF-b": "#b8336a",
    "MoEISR-LTE-s": "#7a4fb5",
    "MoEISR-LTE-b": "#8c5a2b",
}
_OTHERS = ("#3f3f3f", "#5d8aa8", "#a33b20", "#6b8e23")
_STYLE = {**STYLE, "font.size": 9}


class Cost(NamedTuple):
    """The cost on the horizontal axis."""

    title: str
    axis: str
    of: Callable[[Row], float]  # maps a row of averages to its cost
    of_bicubic: bool  # whether the cost of bicubic is known


def macs(benchmark: Benchmark) -> Cost:
    """Return the executed MACs of the decoder as the cost."""
    return Cost(
        "PSNR against MACs. Small points are budgets, large points the mapper's routing",
        "decoder kMACs per output pixel, as executed",
        lambda row: benchmark.macs_per_pixel(row, "executed") / 1e3,
        of_bicubic=False,
    )


def seconds(benchmark: Benchmark) -> Cost:
    """Return the seconds of encoding and decoding as the cost."""
    return Cost(
        "PSNR against seconds. Small points are budgets, large points the mapper's routing",
        "seconds per megapixel of output",
        benchmark.seconds_per_megapixel,
        of_bicubic=True,
    )


def plot(benchmark: Benchmark, cost: Cost) -> Figure:
    """Draw a panel per scale with single-expert networks, mixtures at all budgets, and bicubic.

    If bicubic is below the panel, draw it in a separate strip.
    """
    colours = _colours(benchmark)
    columns = len(benchmark.scales)
    width, height = 3.7 * columns, 3.6  # inches
    with plt.rc_context(_STYLE):
        figure, panels = plt.subplots(
            2,
            columns,
            figsize=(width, height),
            squeeze=False,
            height_ratios=[7, 1],
            gridspec_kw={
                "left": 0.7 / width,
                "right": 1 - 0.1 / width,
                "bottom": 0.35 / height,
                "top": 1 - 0.3 / height,
                "wspace": 0.18,
                "hspace": 0.14,
            },
        )
        for axes, strip, scale in zip(*panels, benchmark.scales, strict=True):
            axes.set_title(f"{benchmark.dataset} ×{scale}", fontsize=9, fontweight="bold")
            _draw_networks(axes, benchmark, scale, cost, colours)
            _draw_bicubic(axes, strip, benchmark.rows[BICUBIC, scale], cost)
        panels[0][0].set_ylabel("PSNR (dB)")
        figure.supxlabel(cost.axis, fontsize=9, y=0.08 / height, va="bottom")
        for axes, scale in zip(panels[0], benchmark.scales, strict=True):
            write_labels(axes, _labels(benchmark, scale, cost, colours))
    return figure


def close(figure: Figure) -> None:
    """Free a figure."""
    plt.close(figure)


def _draw_networks(axes: Axes, benchmark: Benchmark, scale: str, cost: Cost, colours: dict[str, str]) -> None:
    axes.set_xscale("log")
    axes.grid(True, color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for method in benchmark.methods[1:]:
        row, colour = benchmark.rows[method.name, scale], colours[method.name]
        within = benchmark.budgets.get((method.name, scale), [])
        if within:
            curve = [(cost.of(each), each["psnr"]) for each in within]
            axes.plot(*zip(*curve, strict=True), color=colour, linewidth=1.2, marker="o", markersize=3)
        axes.plot(cost.of(row), row["psnr"], color=colour, marker="o", markersize=8, markeredgecolor="white")
    axes.margins(x=0.15, y=0.18)
    low, high = axes.get_xlim()
    subs = (1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 6, 8)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_bicubic(axes: Axes, strip: Axes, row: Row, cost: Cost) -> None:
    """Draw bicubic as a line in the panel, or in the strip below it."""
    psnr = row["psnr"]
    beneath = psnr < axes.get_ylim()[0]
    line = strip if beneath else axes
    line.axhline(psnr, color=_BICUBIC, linewidth=1.2, linestyle=(0, (4, 3)))
    line.annotate(
        f"bicubic, {psnr:.2f} dB" + (f", {cost.of(row):.2g} s" if cost.of_bicubic else ""),
        (0.99, psnr),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=_BICUBIC,
        fontsize=8,
        fontweight="bold",
    )
    strip.set_axis_off()
    strip.set_ylim(psnr - 1, psnr + 2)


def _labels(benchmark: Benchmark, scale: str, cost: Cost, colours: dict[str, str]) -> list[Label]:
    rows = [(method, benchmark.rows[method.name, scale]) for method in benchmark.methods[1:]]
    return [Label(method.label, (cost.of(row), row["psnr"]), colours[method.name]) for method, row in rows]


def _colours(benchmark: Benchmark) -> dict[str, str]:
    """Assign a colour to each network. Networks of the paper always have the same colour."""
    free = iter(_OTHERS * len(benchmark.methods))
    return {method.name: _HUES.get(method.label) or next(free) for method in benchmark.methods[1:]}
