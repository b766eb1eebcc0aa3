"""Tables of the networks that come with the package."""

import re

from benchmarking.machines import name_of

from documents.sources import SCALES, WEIGHTS, Measured, Model, Sources, decibels, table


def short_table(sources: Sources) -> str:
    """Return the table of README: size, seconds, quality and use, without networks for comparison."""
    heading = ["Network", "MB", "Seconds", *(f"Set14 ×{scale}" for scale in SCALES), "Take it for"]
    rows = [heading]
    for model in sources.models:
        if model.is_for_comparison:
            continue
        rows.append(
            [
                f"`{model.name}`" + (" (default)" if model.is_default else ""),
                f"{model.megabytes:.1f}",
                _seconds(sources, model),
                *(decibels(model.psnr("Set14", scale)) for scale in SCALES),
                model.advice,
            ]
        )
    return table(rows, "lrrrrrl") + "\n\n" + _conditions(sources)


def full_table(sources: Sources) -> str:
    """Return the table of docs/networks.md: parameters, quality on both sets, and training."""
    heading = ["Network", "Parameters", "MB", "Seconds"]
    heading += [f"{dataset} ×{scale}" for dataset in ("Set5", "Set14") for scale in SCALES]
    heading += ["Patches seen"]
    rows = [heading]
    for model in sources.models:
        patches = model.metadata["Iterations"] * model.metadata["Batch Size"]
        rows.append(
            [
                f"`{model.name}`",
                f"{model.metadata['Parameters']:,}",
                f"{model.megabytes:.1f}",
                _seconds(sources, model),
                *(decibels(model.psnr(dataset, s)) for dataset in ("Set5", "Set14") for s in SCALES),
                f"{patches:,}",
            ]
        )
    return table(rows, "l") + "\n\n" + _conditions(sources)


def limits(sources: Sources) -> str:
    """Return a list of uses and limits, from the advice of `moeisr networks` and the cards."""
    lines = []
    for model in sources.models:
        card = (WEIGHTS / f"{model.name}.md").read_text(encoding="utf-8")
        stated = re.search(r"^## Limits\n\n(.+?)\n\n", card, re.MULTILINE | re.DOTALL)
        limit = " ".join(stated[1].split()) if stated else "See the card."
        lines.append(f"- `{model.name}`: {model.advice}. *Limits:* {limit}")
    return "\n".join(lines)


def _seconds(sources: Sources, model: Model) -> str:
    measured = sources.measured(model, "Set14")
    if measured is None:
        return "–"
    return f"{measured.seconds_per_megapixel('4'):.3g}{_mark(measured, _machines(sources))}"


def _machines(sources: Sources) -> list[str]:
    """Return the processors on which the networks were measured."""
    found = [sources.measured(model, "Set14") for model in sources.models]
    return list(dict.fromkeys(_machine(each) for each in found if each is not None))


def _machine(measured: Measured) -> str:
    machine = measured.report["machine"]
    return f"{name_of(machine)}, {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"


def _mark(measured: Measured, machines: list[str]) -> str:
    return "" if len(machines) == 1 else " " + "abcdef"[machines.index(_machine(measured))]


def _conditions(sources: Sources) -> str:
    """Return the conditions and sources of a table."""
    found = [sources.measured(model, "Set14") for model in sources.models]
    files = dict.fromkeys(each.file for each in found if each is not None)
    machines = _machines(sources)
    if len(machines) == 1:
        where = machines[0]
    else:
        where = "; ".join(f"{'abcdef'[i]}: {name}" for i, name in enumerate(machines))
    linked = ", ".join(sources.link(name, name.removesuffix(".json")) for name in files)
    return (
        f"Seconds per megapixel of output at ×4, on a CPU ({where}). "
        f"PSNR in dB on luma; higher is better. From: {linked}."
    )
