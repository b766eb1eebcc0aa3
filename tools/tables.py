"""Print the tables of the paper as Markdown, with numbers of this package beside the published ones.

    python tools/tables.py --table 1 --data FOLDER --weights "EDSR-LIIF=net_g.pth" ...
    python tools/tables.py --table 2 --data Set5=FOLDER --data Set14=FOLDER --weights ...
    python tools/tables.py --table 3

Tables 1, 2, 5 and a part of 4 show the quality of trained networks. Bicubic and the rows with given weights
are measured on the given data. The other rows stay empty.

Tables 3 and 4 count the multiply-accumulates of the decoder, without weights or data. A network with one
expert has a fixed cost per query. The cost of a mixture lies between those of its shallowest and its deepest
expert. `--data` counts on other pictures. With weights, a row of Table 3 shows the cost of the routing of
these pictures.

The exit status is 1 if a published number contradicts the computed cost.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.evaluation.evaluate import evaluate
from moeisr_plugin.evaluation.results import BICUBIC
from moeisr_plugin.pictures import PICTURE_SUFFIXES, read_picture
from moeisr_plugin.render import complexity
from moeisr_plugin.upscaler import encode_layers

PUBLISHED = json.loads(Path(__file__).with_name("published_tables.json").read_text(encoding="utf-8"))
# Decoder MACs depend only on the width of the latent, which is the same for all encoders of the paper.
LATENT = {"type": "EDSREncoder", "num_feat": 64, "num_block": 1}
DECODERS = {
    "LIIF": LIIF,
    "LTE": LTE,
    "MoEISR(LIIF)-b": MoEISRLIIF,
    "MoEISR(LIIF)-s": partial(MoEISRLIIF, hidden_dim=128),
    "MoEISR(LTE)-b": MoEISRLTE,
    "MoEISR(LTE)-s": partial(MoEISRLTE, hidden_dim=128),
    **{f"LIIF-{depth}layer": partial(LIIF, depth=depth) for depth in (2, 3, 4, 5)},
}
# The paper prints the cost of one decoder as 2.86 and as 2.87: some rows are rounded, others truncated.
LAST_DIGIT = 0.01
# Relative difference in size between original pictures and those cropped to multiples of the scale. It is
# the maximum for Set14 up to ×4.
CROPPED = 0.006


@dataclass(frozen=True)
class Cell:
    """A computed number, or its bounds, and the published number."""

    low: float
    high: float
    published: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        # 1e-9 allows for floating-point rounding.
        margin = self.tolerance + 1e-9
        return self.low - margin <= self.published <= self.high + margin

    def __str__(self) -> str:
        ours = f"{self.low:.2f}" if self.low == self.high else f"{self.low:.2f}–{self.high:.2f}"
        return f"{ours} ({self.published:.2f})" if self.agrees else f"**{ours} ({self.published:.2f})**"


@dataclass(frozen=True)
class Quality:
    """The measured and the published quality of a network. Either may be missing."""

    ours: float | None
    published: float | None
    digits: int = 2

    def __str__(self) -> str:
        ours, published = (
            "–" if number is None else f"{number:.{self.digits}f}" for number in (self.ours, self.published)
        )
        return f"{ours} ({published})"


@dataclass
class Table:
    """A table of cells with its notes."""

    title: str
    columns: Sequence[str]
    rows: dict[str, list[Cell] | list[Quality]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def checked(self) -> list[Cell]:
        return [cell for cells in self.rows.values() for cell in cells if isinstance(cell, Cell)]

    def markdown(self) -> str:
        lines = [self.title, "", *(f"- {note}" for note in self.notes), ""]
        lines += [" | ".join(["| Method", *self.columns]) + " |", "|---" * (len(self.columns) + 1) + "|"]
        lines += [" | ".join([f"| {method}", *map(str, cells)]) + " |" for method, cells in self.rows.items()]
        return "\n".join(lines)


def table_3(folders: dict[str, Path], weights: dict[str, Path]) -> Table:
    """Return the decoder TFLOPs with Set14 as LR."""
    published, data = PUBLISHED["tables"]["3"], folders.get("")
    sizes = PUBLISHED["set14_sizes"] if data is None else [size_of(path) for path in pictures_in(data)]
    pixels = sum(height * width for height, width in sizes)
    table = Table(f"Table 3. {published['title']}: ours (published), in TFLOPs", published["columns"])
    table.notes.append(f"{len(sizes)} LR pictures, {pixels / len(sizes):,.0f} pixels in the mean.")
    if data is None:
        table.notes.append("Sizes are those of Set14 as distributed, uncropped.")
    table.notes.append(
        "A mixture without weights: all queries to the shallowest – all to the deepest expert."
    )
    for row in published["rows"]:
        decoder = row["method"].partition("-")[2]
        routed = row["method"] in weights
        net = network_from(weights[row["method"]]) if routed else build(decoder)
        maps = [expert_map(net, path) for path in pictures_in(data)] if routed and data else None
        cells = []
        for column, number in zip(published["columns"], row["tflops"], strict=True):
            scale = int(column.removeprefix("×"))
            works = everything_to_one(net, pixels, scale) if maps is None else [in_total(net, maps, scale)]
            tera = [complexity.published_macs(net, work) / len(sizes) / 1e12 for work in works]
            cells.append(cell(tera, number, slack=0 if data is None else CROPPED))
        table.rows[row["method"] + (", as routed" if routed else "")] = cells
    return table


def table_4(folders: dict[str, Path], weights: dict[str, Path]) -> Table:
    """Return the decoder GFLOPs on downscaled Urban100, for decoders of different depths."""
    published, data = PUBLISHED["tables"]["4"], folders.get("")
    table = Table(f"Table 4. {published['title']}: ours (published), GFLOPs alone", published["columns"])
    sizes = None if data is None else [size_of(path) for path in pictures_in(data)]
    rows = {row["method"]: row["gflops"] for row in published["rows"]}
    liif = build("LIIF-5layer")
    implied = [number * 1e9 / (4 * liif.expert_list[0].macs()) for number in rows["LIIF-5layer"]]
    scales = [int(column.removeprefix("×")) for column in published["columns"]]
    pixels = implied if sizes is None else [mean_pixels(sizes, scale) for scale in scales]
    listed = ", ".join(f"{n:,.0f}" for n in pixels)
    if sizes is None:
        table.notes.append(
            f"Output pixels ({listed}) are derived from the row LIIF-5layer, so that this row always agrees."
        )
    else:
        table.notes.append(f"Output pixels ({listed}) are those of the given pictures, cropped to the scale.")
        table.notes.append("Published numbers are scaled from the pixels of the paper, see LIIF-5layer.")
    table.notes.append("Mixtures: all queries to the shallowest – all to the deepest expert.")
    for method, numbers in rows.items():
        net = build(method.removeprefix("RDN-"))
        cells = []
        for scale, n, n_paper, number in zip(scales, pixels, implied, numbers, strict=True):
            works = everything_to_one(net, round(n / scale**2), scale)
            giga = [complexity.published_macs(net, work) / 1e9 for work in works]
            # The number of pixels is derived from two decimals, and rounded to whole LR pixels.
            cells.append(cell(giga, number * n / n_paper, slack=1e-4))
        table.rows[method] = cells
    return table


def psnr_table(number: str, protocol: str, folders: dict[str, Path], weights: dict[str, Path]) -> Table:
    """Return the PSNR of networks with given weights on data sets with given folders."""
    published = PUBLISHED["tables"][number]
    table = Table(f"Table {number}. {published['title']}: ours (published)", published["columns"])
    table.notes.append(f"PSNR in dB by the protocol {protocol}.")
    columns = [column.rpartition("×")[::2] for column in published["columns"]]  # ("Set5 ", "2") each
    measured: dict[tuple[str, str], dict[str, float]] = {}
    for name, folder in folders.items():
        scales = [scale for column, scale in columns if column.strip() == name]
        found, notes = measure(folder, scales, protocol, weights)
        table.notes += [f"{name}: {note}" if name else note for note in notes]
        for (method, scale), figures in found.items():
            measured[method, f"{name} ×{scale}".strip()] = figures
    numbers = {row["method"]: row["psnr"] for row in published["rows"]}
    for method in dict.fromkeys(["Bicubic", *numbers]):
        table.rows[method] = [
            Quality(measured.get((method, column), {}).get("psnr"), number)
            for column, number in zip(
                published["columns"], numbers.get(method, [None] * len(columns)), strict=True
            )
        ]
    return table


def table_5(folders: dict[str, Path], weights: dict[str, Path]) -> Table:
    """Return PSNR, SSIM and TFLOPs at ×4 for the design choices of the mixture."""
    published = PUBLISHED["tables"]["5"]
    title = f"Table 5. {published['title']}: ours (published)"
    table = Table(title, ["PSNR", "SSIM", "TFLOPs"], notes=["PSNR in dB and SSIM by the protocol div2k."])
    measured = measure(folders[""], ["4"], "div2k", weights)[0] if folders else {}
    for row in [{"method": "Bicubic"}, *published["rows"]]:
        figures = measured.get((row["method"], "4"), {})
        macs = figures.get("decoder_macs_published")
        table.rows[row["method"]] = [
            Quality(figures.get("psnr"), row.get("psnr"), digits=4),
            Quality(figures.get("ssim"), row.get("ssim"), digits=4),
            Quality(macs and macs / 1e12, row.get("tflops")),
        ]
    return table


def measure(
    folder: Path, scales: Sequence[str], protocol: str, weights: dict[str, Path]
) -> tuple[dict[tuple[str, str], dict[str, float]], list[str]]:
    """Return mean figures of bicubic and networks on a data set, by method and scale, and the notes."""
    networks = list(weights.values())
    evaluation = evaluate(networks, folder, [(float(s), float(s)) for s in scales], protocol=protocol)
    methods = {BICUBIC: "Bicubic", **dict(zip(evaluation.networks, weights, strict=True))}
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for record in evaluation.records:
        found.setdefault((methods[record.weights], record.scale), []).append(record.figures)
    means = {
        key: {
            name: sum(figures[name] for figures in all_figures) / len(all_figures) for name in all_figures[0]
        }
        for key, all_figures in found.items()
    }
    return means, evaluation.notes


TABLES = {
    "1": [partial(psnr_table, "1", "div2k")],
    "2": [partial(psnr_table, "2", "benchmark")],
    "3": [table_3],
    "4": [table_4, partial(psnr_table, "4", "benchmark")],
    "5": [table_5],
}


def build(decoder: str) -> ImplicitNetwork:
    """Build an untrained decoder of the paper."""
    return DECODERS[decoder](encoder=LATENT)


def cell(numbers: Sequence[float], published: float, *, slack: float) -> Cell:
    return Cell(min(numbers), max(numbers), published, LAST_DIGIT + slack * published)


def everything_to_one(net: ImplicitNetwork, lr_pixels: int, scale: int) -> list[complexity.Workload]:
    """Return the workloads with all LR pixels routed to the shallowest and to the deepest expert."""
    experts = range(net.num_experts)
    return [
        complexity.Workload(
            lr_pixels=tuple(lr_pixels * (j == one) for j in experts),
            queries=tuple(4 * scale**2 * lr_pixels * (j == one) for j in experts),
            pixel_grid=(2 * scale, 2 * scale),
        )
        for one in (0, len(experts) - 1)
    ]


def in_total(net: ImplicitNetwork, maps: Sequence[torch.Tensor], scale: int) -> complexity.Workload:
    """Return the total workload of several pictures with expert maps (h, w)."""
    works = [complexity.workload(net, each, (len(each) * scale, len(each[0]) * scale)) for each in maps]
    return complexity.Workload(
        lr_pixels=tuple(map(sum, zip(*(work.lr_pixels for work in works), strict=True))),
        queries=tuple(map(sum, zip(*(work.queries for work in works), strict=True))),
        pixel_grid=works[0].pixel_grid,
    )


def expert_map(net: ImplicitNetwork, path: Path) -> torch.Tensor:
    return render.expert_map(encode_layers(net, read_picture(path).pixels)[0])[0]


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder.

    Raises:
        ValueError: the folder contains no pictures.
    """
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        raise ValueError(f"{folder}: contains no pictures; give another folder")
    return found


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.height, image.width


def mean_pixels(sizes: Sequence[tuple[int, int]], scale: int) -> float:
    """Return the mean number of pixels of pictures cropped to multiples of a scale."""
    return sum((h // scale * scale) * (w // scale * scale) for h, w in sizes) / len(sizes)


def parse_pair(text: str) -> tuple[str, Path]:
    """Parse METHOD=FILE or NAME=FOLDER. The name may be missing."""
    name, _, path = text.rpartition("=")
    return name, Path(path)


def checked_names(kind: str, given: Sequence[tuple[str, Path]], known: Sequence[str]) -> dict[str, Path]:
    """Return the given paths by name.

    Raises:
        ValueError: a name is not in the table, or is given twice.
    """
    for name, path in given:
        if name not in known:
            raise ValueError(f"--{kind} {name}={path}: this table has {', '.join(map(repr, known))}")
    if len(dict(given)) < len(given):
        raise ValueError(f"--{kind}: a name is given twice; give each name once")
    return dict(given)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table. Return 1 if a published number contradicts the computed one, otherwise 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", choices=TABLES, required=True)
    parser.add_argument(
        "--data",
        type=parse_pair,
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="pictures: LR for Table 3, HR or a benchmark's folder for others; by name for Table 2",
    )
    parser.add_argument(
        "--weights", type=parse_pair, action="append", default=[], metavar="METHOD=FILE", help="repeatable"
    )
    args = parser.parse_args(argv)
    published = PUBLISHED["tables"][args.table]
    names = list(dict.fromkeys(column.rpartition("×")[0].strip() for column in published["columns"])) or [""]
    try:
        folders = checked_names("data", args.data, names)
        weights = checked_names("weights", args.weights, [row["method"] for row in published["rows"]])
        if weights and not folders:
            raise ValueError("--weights: needs --data")
        tables = [make(folders, weights) for make in TABLES[args.table]]
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print("\n\n".join(table.markdown() for table in tables))
    checked = [cell for table in tables for cell in table.checked()]
    failures = sum(not cell.agrees for cell in checked)
    if checked:
        print(
            f"\n{len(checked) - failures} of {len(checked)} published numbers agree"
            + (". The bold ones do not." if failures else ".")
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
