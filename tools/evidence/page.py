"""Write the results page: tables of benchmarks with their figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from benchmarking.machines import name_of

from evidence.reports import BICUBIC, Benchmark, Method, Row, interpolated
from moeisr_plugin.evaluation.report import protocol_sentence

INTRODUCTION = (
    "Networks and bicubic enlargement, measured by `moeisr evaluate`. `tools/results.py` makes this page "
    "from its JSON. Multiply-accumulates (MACs) of decoder and mapper are per output pixel: *as published* "
    "evaluates every layer for each query and neighbour, *as executed* counts what this package computes. "
    "Seconds cover encoding and decoding, per million output pixels."
)
ROUTING = (
    "*Gain* is the PSNR minus that of a random routing with the same shares. *Correlation* is the rank "
    "correlation of expert depth and gradient energy over LR pixels. *Best single* is the best PSNR of a "
    "single expert that costs no more than the routing. *At half the MACs* is the change of PSNR at a budget "
    "of half the executed MACs of the routing."
)


def page(
    benchmarks: Sequence[Benchmark],
    published: Mapping[str, Any],
    figures: Mapping[int, Sequence[str]],
    sources: Sequence[str],
    speed: str = "",
) -> str:
    """Return the page in Markdown.

    Args:
        benchmarks: one or more benchmarks.
        published: content of tools/published_tables.json.
        figures: Markdown lines that show the figures of each benchmark, by its number.
        sources: names of the reports beside the page.
        speed: a section on speed.
    """
    linked = ", ".join(f"[{name}]({quote(name)})" for name in sources)
    parts = ["# Results", INTRODUCTION, f"Made from {linked}."]
    encoder = None
    for number, benchmark in enumerate(benchmarks):
        if benchmark.encoder != encoder:
            encoder = benchmark.encoder
            parts.append(f"## {_type_and_parameters(encoder)}")
        parts += [f"### {benchmark.dataset}", _conditions(benchmark)]
        parts += [quality_table(benchmark, published), cost_table(benchmark)]
        if any(method.is_mixture for method in benchmark.methods):
            parts += [ROUTING, routing_table(benchmark)]
        parts += figures.get(number, ())
    return "\n\n".join([*parts, *([speed] if speed else [])]) + "\n"


def quality_table(benchmark: Benchmark, published: Mapping[str, Any]) -> str:
    """Return a table of PSNR (with the difference to the backbone) and SSIM, then published PSNRs."""
    rows = [["Method", "Parameters", *(f"×{scale}" for scale in benchmark.scales)]]
    for method in benchmark.methods:
        cells = [_quality(benchmark, method, scale) for scale in benchmark.scales]
        parameters = f"{method.network['parameters']:,}" if method.network else ""
        rows.append([method.label, parameters, *cells])
    columns = published_columns(benchmark)
    decoders = {_published_name(method.label) for method in benchmark.methods if method.network}
    for name, numbers in published_rows(benchmark, published).items():
        if name.partition("-")[2] in decoders and any(numbers.get(column) for column in columns):
            cells = [f"*{numbers[column]:.2f}*" if numbers.get(column) else "" for column in columns]
            rows.append([f"*{name}, published*", "", *cells])
    return _table(rows)


def cost_table(benchmark: Benchmark) -> str:
    """Return a table of MACs and seconds, with their ratios to those of the backbone."""
    counts: dict[str, Callable[[Row], float]] = {
        "kMACs as published": lambda row: benchmark.macs_per_pixel(row, "published") / 1e3,
        "kMACs as executed": lambda row: benchmark.macs_per_pixel(row, "executed") / 1e3,
        "Seconds": benchmark.seconds_per_megapixel,
    }
    rows = [["Network", "Scale", *counts]]
    for method in benchmark.methods[1:]:
        for scale in benchmark.scales:
            row, base = benchmark.rows[method.name, scale], _backbone_row(benchmark, method, scale)
            cells = [_count(count(row), None if base is None else count(base)) for count in counts.values()]
            rows.append([method.label, f"×{scale}", *cells])
    return _table(rows)


def routing_table(benchmark: Benchmark) -> str:
    """Return a table of the routing health of each mixture by scale."""
    rows = [
        [
            "Network",
            "Scale",
            "Shares by depth",
            "Gain",
            "Correlation",
            "PSNR",
            "Best single",
            "At half the MACs",
        ]
    ]
    for method in (method for method in benchmark.methods if method.is_mixture):
        for scale in benchmark.scales:
            row = benchmark.rows[method.name, scale]
            shares = " / ".join(f"{100 * row[f'share_d{depth}']:.0f}" for depth in method.depths)
            health = [
                f"{row['gain']:+.3f}" if "gain" in row else "–",
                f"{row['depth_corr']:+.2f}" if "depth_corr" in row else "–",
                f"{row['psnr']:.3f}",
                _best_single(method, row),
                _at_half_the_macs(benchmark, row),
            ]
            rows.append([method.label, f"×{scale}", f"{shares} %", *health])
    return _table(rows)


def published_columns(benchmark: Benchmark) -> list[str]:
    """Return the columns of this data set in the tables of the paper. They may not exist there."""
    return [
        f"×{scale}" if _published_table(benchmark) == "1" else f"{benchmark.dataset} ×{scale}"
        for scale in benchmark.scales
    ]


def published_rows(benchmark: Benchmark, published: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return the PSNRs of the paper for this data set and protocol, by method and column."""
    number = _published_table(benchmark)
    if number is None:
        return {}
    table = published["tables"][number]
    return {row["method"]: dict(zip(table["columns"], row["psnr"], strict=True)) for row in table["rows"]}


def _published_table(benchmark: Benchmark) -> str | None:
    if benchmark.protocol == "div2k" and benchmark.dataset.startswith("DIV2K"):
        return "1"
    return "2" if benchmark.protocol == "benchmark" else None


def _published_name(label: str) -> str:
    """Return the name of a decoder in the tables of the paper, such as MoEISR(LIIF)-s."""
    method, _, rest = label.partition("-")
    backbone, _, size = rest.partition("-")
    return f"{method}({backbone})-{size}" if method == "MoEISR" else label


def _conditions(benchmark: Benchmark) -> str:
    first = benchmark.rows[BICUBIC, benchmark.scales[0]]
    machine = benchmark.machine
    threads = f", {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return (
        f"{first['pictures']} pictures, LR {first['lr']}. {protocol_sentence(benchmark.protocol)} "
        f"On {machine.get('gpu') or name_of(machine) + threads}, torch {machine['torch']}."
        f"{' ' + benchmark.grey if benchmark.grey else ''}"
    )


def _quality(benchmark: Benchmark, method: Method, scale: str) -> str:
    row, base = benchmark.rows[method.name, scale], _backbone_row(benchmark, method, scale)
    against = f" ({row['psnr'] - base['psnr']:+.2f})" if base else ""
    return f"{row['psnr']:.2f}{against} / {row['ssim']:.4f}"


def _backbone_row(benchmark: Benchmark, method: Method, scale: str) -> Row | None:
    backbone = benchmark.backbone(method)
    return backbone and benchmark.rows[backbone.name, scale]


def _count(count: float, base: float | None) -> str:
    form = ",.0f" if count >= 1000 else ".3g"
    return f"{count:{form}}" + (f" ({100 * count / base:.0f} %)" if base else "")


def _best_single(method: Method, row: Row) -> str:
    """Return the best PSNR of a single expert that costs no more than the routing."""
    if "gain" not in row:
        return "–"
    affordable = [
        (row[f"only_d{depth}"], depth)
        for depth in method.depths
        if row[f"only_macs_d{depth}"] <= row["decoder_macs_executed"]
    ]
    return "{:.3f} ({} layers)".format(*max(affordable)) if affordable else "–"


def _at_half_the_macs(benchmark: Benchmark, row: Row) -> str:
    within = benchmark.budgets.get((row["weights"], row["scale"]), [])
    points = [(each["decoder_macs_executed"], each["psnr"]) for each in within]
    psnr = interpolated(row["decoder_macs_executed"] / 2, points)
    return "–" if psnr is None else f"{psnr - row['psnr']:+.3f} dB"


def _type_and_parameters(encoder: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{key} {value}" for key, value in encoder.items() if key != "type")
    return f"{encoder['type']} ({rest})" if rest else encoder["type"]


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])
