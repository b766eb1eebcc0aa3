"""Read what the blocks are made from: the model index, reports of `moeisr evaluate`, and benchmarks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.commands.networks import ADVICE, COMPARISON
from moeisr_plugin.publishing.index import read_index

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
WEIGHTS = ROOT / "moeisr_plugin" / "weights"
SCALES = ("2", "3", "4")
PROTOCOL = "benchmark"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """The averages of a network in one report of `moeisr evaluate`.

    Attributes:
        file: name of the report.
        report: its content.
        name: name of the network in it.
    """

    file: str
    report: Mapping[str, Any]
    name: str

    @property
    def dataset(self) -> str:
        return self.report["dataset"]

    def row(self, scale: str, name: str | None = None) -> Row:
        """Return the averages of this network, or another network of the report, at a scale."""
        wanted = name or self.name
        return next(
            row for row in self.report["averages"] if (row["weights"], row["scale"]) == (wanted, scale)
        )

    def megapixels(self, scale: str) -> float:
        """Return the mean size of the enlarged pictures."""
        sizes = [
            row["height"] * row["width"]
            for row in self.report["pictures"]
            if (row["weights"], row["scale"]) == (self.name, scale)
        ]
        return sum(sizes) / len(sizes) / 1e6

    def seconds_per_megapixel(self, scale: str) -> float:
        row = self.row(scale)
        return (row["encode_seconds"] + row["decode_seconds"]) / self.megapixels(scale)


@dataclass(frozen=True)
class Model:
    """A network of the package, as the model index describes it."""

    entry: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.entry["Name"]

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT

    @property
    def is_tiny(self) -> bool:
        return self.name.startswith("tiny_")

    @property
    def advice(self) -> str:
        """When to take it."""
        return ADVICE.get(self.name, "see its card")

    @property
    def is_for_comparison(self) -> bool:
        return self.advice.startswith(COMPARISON)

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.entry["Metadata"]

    @property
    def megabytes(self) -> float:
        return (WEIGHTS / self.entry["Weights"]).stat().st_size / 1e6

    def psnr(self, dataset: str, scale: str) -> float | None:
        """Return the PSNR of the index, or None where it has none."""
        for result in self.entry["Results"]:
            if (result["Dataset"], result["Protocol"]) == (dataset, PROTOCOL):
                return result["Metrics"].get(f"PSNR x{scale}")
        return None


class Sources:
    """All sources of the blocks.

    Args:
        docs: path from the folder of the page to docs.
    """

    def __init__(self, docs: str = "") -> None:
        self.docs = docs

    @cached_property
    def models(self) -> list[Model]:
        """The networks of the package: the default one first, the tiny ones last."""
        found = [Model(entry) for entry in read_index(WEIGHTS / "metafile.yml")["Models"]]
        return sorted(found, key=lambda model: (not model.is_default, model.is_tiny))

    @cached_property
    def published(self) -> Mapping[str, Any]:
        """The tables of the paper."""
        return json.loads((ROOT / "tools" / "published_tables.json").read_text(encoding="utf-8"))["tables"]

    @cached_property
    def reports(self) -> list[tuple[str, Mapping[str, Any]]]:
        """All reports of `moeisr evaluate` by `PROTOCOL`, with their names."""
        found = ((path.name, _read(path)) for path in sorted(RESULTS.glob("*.json")))
        reports = ((name, report) for name, report in found if "averages" in report)
        return [(name, report) for name, report in reports if report["protocol"] == PROTOCOL]

    def benchmark(self, name: str) -> Mapping[str, Any]:
        """Return a benchmark.json, or another file of measurements."""
        return _read(RESULTS / name)

    def measured(self, model: Model, dataset: str, precision: str = "float32") -> Measured | None:
        """Return the report of these very weights on a data set, or None."""
        for name, report in self.reports:
            if (report["dataset"], report["precision"]) != (dataset, precision):
                continue
            for network, described in report["networks"].items():
                if described["sha256"] == model.metadata["SHA-256"]:
                    return Measured(name, report, network)
        return None

    def bicubic(self, dataset: str) -> Iterator[float]:
        """Yield the PSNR of bicubic enlargement at each of `SCALES`."""
        report = next(r for _, r in self.reports if (r["dataset"], r["precision"]) == (dataset, "float32"))
        for scale in SCALES:
            yield next(
                row["psnr"]
                for row in report["averages"]
                if (row["weights"], row["scale"]) == ("bicubic", scale)
            )

    def link(self, name: str, text: str = "JSON") -> str:
        """Return a link to a file of measurements."""
        return f"[{text}]({self.docs}results/{name})"


def table(rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Return a Markdown table.

    Args:
        rows: the headings, then the rows.
        align: a letter per column, `l` or `r`. Columns without a letter are aligned to the right.
    """
    aligned = align.ljust(len(rows[0]), "r")
    rule = "|".join("---:" if letter == "r" else "---" for letter in aligned)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def decibels(psnr: float | None) -> str:
    return "–" if psnr is None else f"{psnr:.2f}"


def _read(path: Path) -> Mapping[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
