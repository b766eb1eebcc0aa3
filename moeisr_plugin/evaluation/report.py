"""Write an evaluation as JSON, CSV and Markdown."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from moeisr_plugin import __version__
from moeisr_plugin.evaluation.results import BICUBIC, Evaluation, Record
from moeisr_plugin.metrics import PROTOCOLS
from moeisr_plugin.utils.atomic import atomic_write
from moeisr_plugin.utils.numbers import giga

FILES = ("results.json", "results.csv", "results.md")


_gmacs = partial(giga, spec=".3g")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


_Column = tuple[str, str, Callable[[Any], str]]
"""A table column: heading, key of the averages, and formatting function."""

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
    ("Published GMACs", "decoder_macs_published", _gmacs),
    ("GMACs", "decoder_macs_executed", _gmacs),
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
    ("Published GMACs", "decoder_macs_published", _gmacs),
    ("GMACs", "decoder_macs_executed", _gmacs),
)
_PER_DEPTH = ("share_d", "only_d")
_LEGEND = {
    "decode_seconds": "Seconds are per picture.",
    "decoder_macs_published": "GMACs are the multiply-accumulates of decoder and mapper per picture, as "
    "executed. Published GMACs evaluate every layer for each query and neighbour.",
    "share_d": "Shares are the LR pixels routed to each expert, shallowest first.",
    "gain": "Gain is the PSNR minus that of a random routing with the same shares. Depth corr. is the rank "
    "correlation of expert depth and gradient energy. Single experts lists the PSNR of each expert used for "
    "all pixels.",
}


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write `FILES` into a folder. Create the folder if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(
        FILES, (as_json(evaluation), as_csv(evaluation), as_markdown(evaluation)), strict=True
    ):
        with atomic_write(folder / name) as file:
            file.write(text.encode(errors="backslashreplace"))  # file names may not be valid Unicode


def as_json(evaluation: Evaluation) -> str:
    """Return the whole evaluation as JSON. The infinite PSNR of equal pictures becomes null.

    Keys: moeisr (version), dataset, protocol, device, precision, machine, networks (by name), others (names
    of methods whose pictures were given, if any), averages, budgets
    (averages, by budget), pictures, skipped, notes.
    """
    report = {
        "moeisr": __version__,
        "dataset": evaluation.dataset,
        "protocol": evaluation.protocol,
        "device": evaluation.device,
        "precision": evaluation.precision,
        "machine": evaluation.machine,
        "networks": evaluation.networks,
        **({"others": evaluation.others} if evaluation.others else {}),
        "averages": [_finite(average) for average in averages(evaluation)],
        "budgets": [_finite(average) for average in budget_averages(evaluation)],
        "pictures": [_finite(_flat(record)) for record in evaluation.records],
        "skipped": [skipped._asdict() for skipped in evaluation.skipped],
        "notes": evaluation.notes,
    }
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def restore_infinity(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace null by infinity in a row of a JSON report."""
    return {key: math.inf if value is None else value for key, value in row.items()}


def require_float32(report: Mapping[str, Any], path: Path) -> None:
    """Check that a JSON report was measured in float32.

    Raises:
        ValueError: the networks computed in another precision. The message names the file.
    """
    precision = report.get("precision", "float32")  # older reports lack the key
    if precision != "float32":
        raise ValueError(f"{path}: was measured in {precision}; give results in float32")


def as_csv(evaluation: Evaluation) -> str:
    """Return one line per picture and network as CSV. Missing figures are empty."""
    rows = [_flat(record) for record in evaluation.records]
    fields = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(fields), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(evaluation: Evaluation) -> str:
    """Return a Markdown table of averages with a row per scale and network, and its legend."""
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
    """Return the lines of a Markdown table. Rows have the form of `averages` or of a JSON report."""
    return _table(_COLUMNS, rows)


def legend(rows: list[dict[str, Any]]) -> list[str]:
    """Return the sentences that explain the columns of a table."""
    measured = dict.fromkeys(key for row in rows for key in row)
    return [text for key, text in _LEGEND.items() if any(_belongs(name, key) for name in measured)]


def _table(columns: tuple[_Column, ...], rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table. Columns without any figure are left out."""
    measured = dict.fromkeys(key for row in rows for key in row)
    columns = tuple(column for column in columns if any(_belongs(key, column[1]) for key in measured))
    table = [[heading for heading, _, _ in columns]]
    table += [[_cell(row, key, form) for _, key, form in columns] for row in rows]
    return _aligned(table)


def averages(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Average the figures over pictures, for each scale and each method.

    Bicubic is first, then come the pictures of other methods, then the networks.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    scales = dict.fromkeys(record.scale for record in evaluation.records)
    for scale in scales:
        for weights in (BICUBIC, *evaluation.others, *evaluation.networks):
            groups[scale, weights] = []
    for record in evaluation.records:
        groups[record.scale, record.weights].append(record)
    return [_average(records) for records in groups.values()]


def budget_averages(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Average the figures over pictures, for each scale, mixture and budget."""
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
    """Pad the cells of a Markdown table so that its source is aligned. Numbers are right-aligned."""
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
    """Describe what a protocol measures PSNR and SSIM on."""
    luma, margin, rounded = PROTOCOLS[protocol]
    beyond = f" and {margin} pixels more" if margin else ""
    values = "clipped and rounded to 8 bits" if rounded else "clipped but not rounded"
    return (
        f"Protocol {protocol}: {'luma' if luma else 'RGB'}, {values}, without a border as wide as the "
        f"scale{beyond}."
    )


def _skipped_sentences(evaluation: Evaluation) -> list[str]:
    count = len(evaluation.skipped)
    heading = [f"Skipped {count} picture{'s' if count > 1 else ''}:"] if count else []
    return heading + [f"{each.picture} at ×{each.scale}: {each.reason}" for each in evaluation.skipped]
