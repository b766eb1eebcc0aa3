"""Read reports of `moeisr evaluate` for publishing."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from moeisr_plugin.evaluation.notes import GREY, grey_sentence
from moeisr_plugin.evaluation.report import require_float32, restore_infinity
from moeisr_plugin.evaluation.results import BICUBIC
from moeisr_plugin.utils.regular_files import read_text


class Results(NamedTuple):
    """Results of `moeisr evaluate` for the weights on one data set.

    Attributes:
        dataset, protocol, machine: as in the report.
        rows: averages of bicubic and of the weights, under the published name.
        rounded: whether the measured weights have the precision of the published ones.
        notes: remarks of the report.
    """

    dataset: str
    protocol: str
    machine: Mapping[str, Any]
    rows: list[dict[str, Any]]
    rounded: bool
    notes: Sequence[str] = ()


def read_results(path: Path, name: str, rounded: Mapping[str, bool]) -> Results:
    """Read the rows of bicubic and of published weights from a report.

    Args:
        path: the report.
        name: published name of the weights.
        rounded: maps the SHA-256 of each accepted file to whether it has the published precision.

    Raises:
        ValueError: the file is not a report, or not one of these weights in float32. The message is one line.
        OSError: the file cannot be read.
    """
    try:
        report: dict[str, Any] = json.loads(read_text(path))
        hashes = {key: network["sha256"] for key, network in report["networks"].items()}
        ours = [key for key, digest in hashes.items() if digest in rounded]
        rows = [
            {**restore_infinity(row), "weights": BICUBIC if row["weights"] == BICUBIC else name}
            for row in report["averages"]
            if row["weights"] in (BICUBIC, *ours[:1])
        ]
        facts = report["dataset"], report["protocol"], report["machine"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: not a results.json of moeisr evaluate; run moeisr evaluate again"
        ) from error
    if not ours:
        raise ValueError(f"{path}: was measured with other weights; give results of this checkpoint")
    require_float32(report, path)
    return Results(*facts, rows, rounded[hashes[ours[0]]], _notes(report))


def result_entry(results: Results, name: str) -> dict[str, Any]:
    """Return results of the model of this name as an entry under its `Results`."""
    return {
        "Task": "Image Super-Resolution",
        "Dataset": results.dataset,
        "Protocol": results.protocol,
        "Metrics": {
            f"{metric} x{row['scale']}": round(row[key], 4)
            for row in results.rows
            if row["weights"] == name
            for metric, key in (("PSNR", "psnr"), ("SSIM", "ssim"))
        },
    }


def _notes(report: Mapping[str, Any]) -> list[str]:
    """Return the notes of a report, that on grey pictures with figures."""
    grey = grey_sentence(report)
    others = [note for note in report.get("notes", ()) if not note.startswith(GREY)]
    return [*([grey] if grey else []), *others]
