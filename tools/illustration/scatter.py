"""Plot PSNR on Set14 at ×4 against cost, for all networks of the package with a report."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarking.machines import name_of
from documents.results import source_of
from documents.sources import Measured, Sources
from evidence.labels import Label
from matplotlib import pyplot as plt

from illustration.cost_axis import PLOT_STYLE, begin, finish, number_costs

_COLOURS = {"MoEISR": "#e07b00", "LIIF": "#2f6db5", "LTE": "#2a9d77"}
_SCALE = "4"


def psnr_against_macs() -> bytes:
    """Return the plot against executed multiply-accumulates of the decoder."""

    def cost(measured: Measured) -> float:
        macs = measured.row(_SCALE)["decoder_macs_executed"]
        return macs / measured.megapixels(_SCALE) / 1e9

    return _plot(cost, "thousand multiply-accumulates of the decoder per output pixel, as executed", False)


def psnr_against_seconds() -> bytes:
    """Return the plot against seconds per megapixel. The marker tells the machine."""
    return _plot(
        lambda measured: measured.seconds_per_megapixel(_SCALE), "seconds per megapixel on one thread", True
    )


def _points(sources: Sources) -> list[tuple[str, str, Measured]]:
    """Return label, type and report of each network, and of the LIIF that the default one comes from."""
    points = []
    for model in sources.models:
        measured = sources.measured(model, "Set14")
        if measured is not None:
            points.append((model.name, model.metadata["Architecture"][0], measured))
    default = next(model for model in sources.models if model.is_default)
    if (source := source_of(sources, default)) is not None:
        points.append(("published EDSR-LIIF", "LIIF", source))
    return points


def _plot(cost: Callable[[Measured], float], axis: str, by_machine: bool) -> bytes:
    sources = Sources()
    points = _points(sources)
    machines = list(dict.fromkeys(name_of(measured.report["machine"]) for *_, measured in points))
    with plt.rc_context(PLOT_STYLE):
        figure, axes = begin(5.6)
        labels = []
        for name, kind, measured in points:
            colour = _COLOURS["MoEISR" if kind.startswith("MoEISR") else kind]
            where = cost(measured), measured.row(_SCALE)["psnr"]
            number = machines.index(name_of(measured.report["machine"]))
            axes.plot(*where, color=colour, marker="os^Dv"[number] if by_machine else "o", markersize=13)
            labels.append(Label(name, where, colour))
        number_costs(axes, margins=(0.26, 0.18))
        axes.set_xlabel(axis)
        axes.set_ylabel("PSNR (dB), Set14 ×4")
        if by_machine and len(machines) > 1:
            _name_machines(axes, machines)
        return finish(figure, axes, labels)


def _name_machines(axes: Any, machines: Sequence[str]) -> None:
    for number, machine in enumerate(machines):
        axes.plot([], [], "os^Dv"[number], color="#8a8a8a", label=machine, markersize=11)
    axes.legend(frameon=False, loc="lower right")
