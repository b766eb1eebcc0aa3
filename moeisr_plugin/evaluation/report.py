"""What an evaluation has measured, as JSON, CSV and a table in Markdown."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from moeisr_plugin import __version__
from moeisr_plugin.evaluation.evaluate import BICUBIC, Evaluation, Record
from moeisr_plugin.metrics import PROTOCOLS
from moeisr_plugin.utils.atomic import atomic_write

FILES = ("results.json", "results.csv", "results.md")


def _giga(number: float) -> str:
    return f"{number / 1e9:.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


_Column = tuple[str, str, Callable[[Any], str]]
"""Of a table: heading, key of the averages, and how it is written."""

_COLUMNS: tuple[_Column, ...] = (
    ("Scale", "scale", "×{}".format),
    ("LR", "lr", str),
    ("Weights", "weights", _escaped),
    ("Pictures", "pictures", str),
    ("PSNR", "psnr", "{:.2f}".format),
    ("SSIM", "ssim", "{:.4f}".format),
    ("LPIPS", "lpips", "{:.4f}".format),
    ("Encode s", "encode_seconds", "{:.3f}".format),
    ("Decode s", "decode_seconds", "{:.3f}".format),
    ("Published GMACs", "decoder_macs_published", _giga),
    ("GMACs", "decoder_macs_executed", _giga),
    ("Shares %", "share_d", _percent),
    ("Gain", "gain", "{:+.2f}".format),
    ("Depth corr.", "depth_corr", "{:+.2f}".format),
    ("Single experts", "only_d", "{:.2f}".format),
)
_BUDGET_COLUMNS: tuple[_Column, ...] = (
    ("Scale", "scale", "×{}".format),
    ("Weights", "weights", _escaped),
    ("Budget", "budget", "{:.3f}".format),
    ("PSNR", "psnr", "{:.2f}".format),
    ("Decode s", "decode_seconds", "{:.3f}".format),
    ("Published GMACs", "decoder_macs_published", _giga),
    ("GMACs", "decoder_macs_executed", _giga),
)
_PER_DEPTH = ("share_d", "only_d")
_LEGEND = {
    "psnr": "Published PSNRs of bicubic enlargement, which is rounded there, are up to 0.03 dB lower.",
    "decode_seconds": "Seconds are those of one picture.",
    "decoder_macs_published": "Multiply-accumulates are those of decoding one picture, mapper included: with "
    "every layer evaluated for each query and neighbour as published, and as executed here.",
    "share_d": "Shares are those of the LR pixels that choose each expert, shallowest first.",
    "gain": "Gain is the PSNR over that of the same experts dealt to pixels at random in the same shares. "
    "Depth corr. is the rank correlation of expert depth and gradient energy. Single experts: the PSNR of "
    "each used everywhere.",
}


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Writes `FILES` into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(
        FILES, (as_json(evaluation), as_csv(evaluation), as_markdown(evaluation)), strict=True
    ):
        with atomic_write(folder / name) as file:
            file.write(text.encode(errors="backslashreplace"))  # names of files may be no Unicode


def as_json(evaluation: Evaluation) -> str:
    """Everything that was measured. An infinite PSNR, that of equal pictures, is null.

    Keys: moeisr (version), dataset, protocol, device, precision, machine, networks (by name), averages,
    budgets (averages, by budget), pictures, skipped, notes.
    """
    report = {
        "moeisr": __version__,
        "dataset": evaluation.dataset,
        "protocol": evaluation.protocol,
        "device": evaluation.device,
        "precision": evaluation.precision,
        "machine": evaluation.machine,
        "networks": evaluation.networks,
        "averages": [_finite(average) for average in averages(evaluation)],
        "budgets": [_finite(average) for average in budget_averages(evaluation)],
        "pictures": [_finite(_flat(record)) for record in evaluation.records],
        "skipped": [skipped._asdict() for skipped in evaluation.skipped],
        "notes": evaluation.notes,
    }
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def infinite_again(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a report in JSON as it was measured, with the PSNR of equal pictures."""
    return {key: math.inf if value is None else value for key, value in row.items()}


def require_float32(report: Mapping[str, Any], path: Path) -> None:
    """Refuses figures of a report in JSON that 16 bits have changed.

    Raises:
        ValueError: naming the file, if networks computed in another precision.
    """
    precision = report.get("precision", "float32")  # older reports had no other
    if precision != "float32":
        raise ValueError(f"{path}: was measured in {precision}; give results in float32")


def as_csv(evaluation: Evaluation) -> str:
    """A line per picture and network; figures that a network does not have are empty."""
    rows = [_flat(record) for record in evaluation.records]
    fields = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(fields), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(evaluation: Evaluation) -> str:
    """A table of averages, a row per scale and network, with what it takes to read it."""
    rows = averages(evaluation)
    budgets = budget_averages(evaluation)
    opening = [f"# {evaluation.dataset}", "", protocol_sentence(evaluation.protocol)]
    if evaluation.precision != "float32":
        opening.append(f"Networks compute in {evaluation.precision}.")
    text = [*opening, *legend(rows), ""]
    text += table_of_averages(rows)
    if budgets:
        text += ["", "Within a budget: 0 is the shallowest expert everywhere, 1 the deepest.", ""]
        text += _table(_BUDGET_COLUMNS, budgets)
    remarks = [*evaluation.notes, *_skipped_sentences(evaluation)]
    return "\n".join([*text, *([""] if remarks else []), *(f"- {remark}" for remark in remarks)]) + "\n"


def table_of_averages(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of a table in Markdown, of rows as `averages` and a report in JSON have them."""
    return _table(_COLUMNS, rows)


def legend(rows: list[dict[str, Any]]) -> list[str]:
    """What it takes to read the figures of a table."""
    measured = dict.fromkeys(key for row in rows for key in row)
    return [text for key, text in _LEGEND.items() if any(_belongs(name, key) for name in measured)]


def _table(columns: tuple[_Column, ...], rows: list[dict[str, Any]]) -> list[str]:
    """Columns that no row has a figure for are left out."""
    measured = dict.fromkeys(key for row in rows for key in row)
    columns = tuple(column for column in columns if any(_belongs(key, column[1]) for key in measured))
    table = [[heading for heading, _, _ in columns]]
    table += [[_cell(row, key, form) for _, key, form in columns] for row in rows]
    return _aligned(table)


def averages(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Figures averaged over pictures, of each scale and, within it, of bicubic and each network."""
    groups: dict[tuple[str, str], list[Record]] = {}
    scales = dict.fromkeys(record.scale for record in evaluation.records)
    for scale in scales:
        for weights in (BICUBIC, *evaluation.networks):
            groups[scale, weights] = []
    for record in evaluation.records:
        groups[record.scale, record.weights].append(record)
    return [_average(records) for records in groups.values()]


def budget_averages(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Figures averaged over pictures, of each scale, each mixture and each budget."""
    groups: dict[tuple[str, str, float], list[Record]] = {}
    for record in evaluation.budgets:
        groups.setdefault((record.scale, record.weights, record.figures["budget"]), []).append(record)
    return [_average(records) for records in groups.values()]


def _average(records: list[Record]) -> dict[str, Any]:
    first = records[0]
    return {
        "weights": first.weights,
        "dataset": first.dataset,
        "scale": first.scale,
        "lr": first.lr,
        "pictures": len(records),
        **_means([record.figures for record in records]),
    }


def _means(figures: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(each[name] for each in figures) / len(figures) for name in figures[0]}


def _flat(record: Record) -> dict[str, Any]:
    fields = record._asdict()
    figures = fields.pop("figures")
    return {**fields, **figures}


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _belongs(key: str, column: str) -> bool:
    return key.startswith(column) if column in _PER_DEPTH else key == column


def _cell(row: Mapping[str, Any], column: str, form: Callable[[Any], str]) -> str:
    return " / ".join(form(value) for key, value in row.items() if _belongs(key, column))


def _aligned(table: list[list[str]]) -> list[str]:
    """Markdown whose columns line up as plain text, too; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    left = [heading in ("LR", "Weights") for heading in table[0]]

    def line(cells: Iterable[str]) -> str:
        padded = (
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(cells, widths, left, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        "-" * width if is_left else "-" * (width - 1) + ":"
        for width, is_left in zip(widths, left, strict=True)
    )
    return [line(table[0]), line(rule), *map(line, table[1:])]


def protocol_sentence(protocol: str) -> str:
    """What PSNR and SSIM are measured on."""
    luma, margin = PROTOCOLS[protocol]
    beyond = f" and {margin} pixels more" if margin else ""
    return (
        f"Protocol {protocol}: {'luma' if luma else 'RGB'}, clipped but not rounded, without a border as "
        f"wide as the scale{beyond}."
    )


def _skipped_sentences(evaluation: Evaluation) -> list[str]:
    count = len(evaluation.skipped)
    heading = [f"Skipped {count} picture{'s' if count > 1 else ''}:"] if count else []
    return heading + [f"{each.picture} at ×{each.scale}: {each.reason}" for each in evaluation.skipped]
