"""Plot PSNR against seconds per megapixel, from a report of `tools/benchmark.py --front`."""

from collections.abc import Mapping
from typing import Any

from benchmarking.contenders import PLAIN
from benchmarking.entries import LIIF_CODE, LIIF_NAME, ONNX
from evidence.labels import Label
from evidence.style import INK
from matplotlib import pyplot as plt

from illustration.cost_axis import PLOT_STYLE, begin, finish, number_costs

_OURS = ("#e07b00", "#b3261e", "#d4a017", "#8c5a2b", "#c2478f", "#7a4fb5")
"""Colours of the networks of this package."""
_OTHERS = "#2f6db5"
_LINES = {"float32": "-", "bfloat16": "--", "float16": "-.", "int8": ":"}
_MARKERS = {"float32": "o", "bfloat16": "s", "float16": "^", "int8": "D"}


def plot(report: Mapping[str, Any]) -> bytes:
    """Return a PNG. Budgets of a network are joined by a line; methods without a PSNR are dotted verticals.

    Networks of this package have a colour each, and a line and marker for each precision. Others are blue,
    hollow where the PSNR is as published.
    """
    rows = report["entries"]
    names = list(dict.fromkeys(row["network"] for row in rows if row["ours"]))
    colours = {name: _OURS[number % len(_OURS)] for number, name in enumerate(names)}
    with plt.rc_context(PLOT_STYLE):
        figure, axes = begin(7)
        labels = []
        for name in names:
            labels += _draw_ours(
                axes, [row for row in rows if row["ours"] and row["network"] == name], colours
            )
        has_code = any(row["code"] == LIIF_CODE for row in rows)
        for row in rows:
            if not row["ours"] and not (row["code"] == PLAIN and has_code):  # they coincide
                labels += _draw_other(axes, row)
        number_costs(axes, margins=(0.2, 0.12))
        threads = "one thread" if report["threads"] == 1 else f"{report['threads']} threads"
        axes.set_xlabel(f"seconds per megapixel of the output, {threads}")
        axes.set_ylabel(f"PSNR (dB), {report['dataset']} ×{report['scale']:g}")
        _name_precisions(axes, rows)
        return finish(figure, axes, labels)


def _draw_ours(axes: Any, rows: list[Mapping[str, Any]], colours: Mapping[str, str]) -> list[Label]:
    """Draw a network: a line over its budgets for each precision, and a large marker for its own routing."""
    colour = colours[rows[0]["network"]]
    for precision in dict.fromkeys(row["precision"] for row in rows):
        of_precision = [row for row in rows if row["precision"] == precision]
        budgets = [_point(row) for row in of_precision if row["budget"] is not None]
        if budgets:
            axes.plot(*zip(*budgets, strict=True), _LINES[precision], marker=".", color=colour, markersize=7)
        for row in of_precision:
            if row["budget"] is None:
                axes.plot(*_point(row), _MARKERS[precision], color=colour, markersize=12)
    own = next(row for row in rows if row["budget"] is None)
    name = "LIIF by this package" if own["network"] == LIIF_NAME else own["network"]
    return [Label(name, _point(own), colour)]


def _draw_other(axes: Any, row: Mapping[str, Any]) -> list[Label]:
    seconds = row["seconds_per_megapixel"]
    own_names = {ONNX: f"{row['network']} in ONNX", PLAIN: "LIIF, plain", LIIF_CODE: "LIIF, its own code"}
    name = own_names[row["code"]] if row["code"] in own_names else row["network"]
    name += "" if row["precision"] == "float32" else f", {row['precision']}"
    if row["psnr"] is None:
        axes.axvline(seconds, color=_OTHERS, linestyle=":")
        place = axes.get_xaxis_transform()
        axes.text(seconds, 0.02, f" {name}: time only", transform=place, color=_OTHERS, rotation=90, size=13)
        return []
    fill = "white" if row["psnr_is"] == "published" else _OTHERS
    axes.plot(*_point(row), "o", color=_OTHERS, markerfacecolor=fill, markersize=11, markeredgewidth=2)
    published = ", as published" if row["psnr_is"] == "published" else ""
    return [Label(f"{name}{published}", _point(row), _OTHERS)]


def _point(row: Mapping[str, Any]) -> tuple[float, float]:
    return row["seconds_per_megapixel"], row["psnr"]


def _name_precisions(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    """Explain lines and markers if there are several precisions of this package."""
    precisions = list(dict.fromkeys(row["precision"] for row in rows if row["ours"]))
    if len(precisions) > 1:
        for precision in precisions:
            form = _LINES[precision] + _MARKERS[precision]
            axes.plot([], [], form, color=INK, label=precision, markersize=9)
        axes.legend(frameon=False, loc="lower right")
