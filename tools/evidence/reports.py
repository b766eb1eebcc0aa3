"""Read reports of `moeisr evaluate`, and group them by data set and encoder."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from moeisr_plugin.archs.registry import own_network
from moeisr_plugin.evaluation.notes import grey_sentence
from moeisr_plugin.evaluation.report import require_float32
from moeisr_plugin.options.signatures import defaults

BICUBIC, ORIGINAL = "bicubic", "HR"
_HASH = re.compile(r"-[0-9a-f]{8}$")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """Bicubic interpolation, or a network.

    Attributes:
        name: name in the report.
        label: name on the page.
        network: description in the report, empty for bicubic.
        images: folder of its pictures.
    """

    name: str
    label: str
    network: Mapping[str, Any]
    images: Path

    @property
    def kind(self) -> str:
        """Type of the decoder, or bicubic."""
        return self.network.get("type", BICUBIC)

    @property
    def is_mixture(self) -> bool:
        return self.kind.startswith("MoEISR")

    @property
    def depths(self) -> list[int]:
        """Depths of the experts of a mixture."""
        return list(self.network["network_g"]["expert_depths"])


@dataclass
class Benchmark:
    """Results on one data set of networks that share an encoder, and of bicubic.

    Attributes:
        rows: averages over pictures, by method and scale.
        budgets: averages at increasing budgets, by method and scale.
        pixels: mean number of output pixels, by scale.
        pictures: rows of single pictures, by method, scale and name.
        grey: a sentence on grey pictures, if there are any.
    """

    dataset: str
    protocol: str
    encoder: Mapping[str, Any]
    machine: Mapping[str, Any]
    methods: list[Method]
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    budgets: dict[tuple[str, str], list[Row]] = field(default_factory=dict)
    pixels: dict[str, float] = field(default_factory=dict)
    pictures: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    grey: str | None = None

    @property
    def scales(self) -> list[str]:
        return list(self.pixels)

    def backbone(self, method: Method) -> Method | None:
        """Return the single-expert network that a mixture extends, if it was measured."""
        kind = method.kind.removeprefix("MoEISR")
        return next((each for each in self.methods if method.is_mixture and each.kind == kind), None)

    def macs_per_pixel(self, row: Row, counting: str) -> float:
        """Return the decoder MACs per output pixel. The counting is `published` or `executed`."""
        return row[f"decoder_macs_{counting}"] / self.pixels[row["scale"]]

    def seconds_per_megapixel(self, row: Row) -> float:
        """Return the seconds per megapixel of output."""
        return (row.get("encode_seconds", 0) + row["decode_seconds"]) / self.pixels[row["scale"]] * 1e6


def read_benchmarks(paths: Sequence[Path]) -> list[Benchmark]:
    """Read reports, and merge those with the same data set and encoder.

    Raises:
        ValueError: a file is not a report, two reports of a benchmark contradict each other, or the networks
            of a benchmark were measured at different scales.
    """
    found: dict[tuple[str, str, str], Benchmark] = {}
    for path in paths:
        report = _read(path)
        for encoder, names in _by_encoder(report["networks"]).items():
            key = _with_defaults(encoder), report["dataset"], report["protocol"]
            if key not in found:
                found[key] = Benchmark(
                    report["dataset"],
                    report["protocol"],
                    json.loads(encoder),
                    report["machine"],
                    [Method(BICUBIC, BICUBIC, {}, path.parent / "images")],
                    grey=grey_sentence(report),
                )
            _add(found[key], report, names, path)
    for benchmark in found.values():
        _require_all_scales(benchmark)
    return [_labelled(benchmark) for benchmark in found.values()]


def _require_all_scales(benchmark: Benchmark) -> None:
    for method in benchmark.methods:
        for scale in benchmark.scales:
            if (method.name, scale) not in benchmark.rows:
                raise ValueError(
                    f"{method.name} was not measured on {benchmark.dataset} at ×{scale}; measure all "
                    "networks at the same scales, or give the reports one by one"
                )


def interpolated(x: float, points: Iterable[tuple[float, float]]) -> float | None:
    """Interpolate linearly between points. Return None outside their range."""
    for (x0, y0), (x1, y1) in pairwise(sorted(points)):
        if x0 <= x <= x1:
            return y0 if x0 == x1 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return None


def _read(path: Path) -> dict[str, Any]:
    needed = {"dataset", "protocol", "machine", "networks", "averages", "budgets", "pictures"}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); run moeisr evaluate again") from error
    if not isinstance(report, dict) or needed - report.keys():
        raise ValueError(f"{path}: not a results.json of moeisr evaluate; run moeisr evaluate again")
    require_float32(report, path)
    for row in (*report["averages"], *report["budgets"]):
        if row.get("psnr") is None:
            raise ValueError(
                f"{path}: {row.get('weights')} has an infinite PSNR at ×{row.get('scale')}, which cannot be "
                "plotted; measure without that scale, or without pictures of a single colour"
            )
    return report


def _with_defaults(encoder: str) -> str:
    """Return the options of an encoder with all defaults, so that equal encoders compare equal."""
    options = json.loads(encoder)
    network = own_network(options.get("type"))
    return json.dumps({**(defaults(network) if network else {}), **options}, sort_keys=True)


def _by_encoder(networks: Mapping[str, Row]) -> dict[str, list[str]]:
    """Return the names of networks by the options of their encoder as JSON."""
    found: dict[str, list[str]] = {}
    for name, network in networks.items():
        found.setdefault(json.dumps(network["network_g"]["encoder"]), []).append(name)
    return found


def _add(benchmark: Benchmark, report: Mapping[str, Any], names: list[str], path: Path) -> None:
    known = {method.name for method in benchmark.methods}
    if repeated := known.intersection(names):
        raise ValueError(
            f"{path}: {min(repeated)} on {benchmark.dataset} is also in another file; give only one"
        )
    benchmark.methods += [Method(n, n, report["networks"][n], path.parent / "images") for n in names]
    for row in report["averages"]:
        key = row["weights"], row["scale"]
        if row["weights"] == BICUBIC and key in benchmark.rows:
            if not math.isclose(benchmark.rows[key]["psnr"], row["psnr"], abs_tol=1e-6):
                raise ValueError(
                    f"{path}: was measured on other pictures of {benchmark.dataset}; measure it again"
                )
        elif row["weights"] in (BICUBIC, *names):
            benchmark.rows[key] = row
    for row in report["budgets"]:
        if row["weights"] in names:
            benchmark.budgets.setdefault((row["weights"], row["scale"]), []).append(row)
    sizes: dict[str, list[int]] = {}
    for row in report["pictures"]:
        if row["weights"] == BICUBIC:
            sizes.setdefault(row["scale"], []).append(row["height"] * row["width"])
        if row["weights"] in (BICUBIC, *names):
            benchmark.pictures[row["weights"], row["scale"], row["picture"]] = row
    benchmark.pixels |= {scale: sum(each) / len(each) for scale, each in sizes.items()}


def _labelled(benchmark: Benchmark) -> Benchmark:
    """Label networks by their names without hash and common prefix."""
    networks = [method for method in benchmark.methods if method.network]
    words = [_HASH.sub("", method.name).split("_") for method in networks]
    shared = (
        0
        if len(words) == 1
        else sum(1 for _ in takewhile(lambda each: len(set(each)) == 1, zip(*words, strict=False)))
    )
    labels = ["-".join(name[shared:]) or "_".join(name) for name in words]
    renamed = [
        Method(method.name, label, method.network, method.images)
        for method, label in zip(networks, labels, strict=True)
    ]
    return Benchmark(**{**vars(benchmark), "methods": [benchmark.methods[0], *renamed]})
