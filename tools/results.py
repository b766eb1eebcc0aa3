"""Make the results page, with plots and pictures, from measurements.

    moeisr evaluate --weights ... --data Set14 --routing --budgets 9 --save-images -o results/Set14
    python tools/results.py results/Set5/results.json results/Set14/results.json -o docs/results

Tables, plots, crops and expert maps come from the given files. Published numbers come from
tools/published_tables.json. Networks with the same encoder share a section with bicubic. Crops need the
pictures that `--save-images` writes beside results.json. `--benchmark` adds the speed from
tools/benchmark.py. Obsolete figures in OUT are removed. The given files are copied to OUT.
"""

import argparse
import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarking.tables import markdown
from evidence import crops, plots
from evidence.page import page
from evidence.reports import Benchmark, read_benchmarks
from PIL import Image

from moeisr_plugin.utils.atomic import atomic_write

PUBLISHED = Path(__file__).with_name("published_tables.json")
PAGE = "README.md"
JPEG = {"quality": 88, "subsampling": 0, "optimize": True}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page to OUT."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        benchmarks = read_benchmarks(args.results)
        known = {picture for benchmark in benchmarks for _, _, picture in benchmark.pictures}
        if unknown := [name for name in args.pictures if name not in known]:
            raise ValueError(f"--pictures {unknown[0]}: not found in the reports; correct the name")
        speed = speed_section(args.benchmark) if args.benchmark else ""
        kept = kept_names([*args.results, *([args.benchmark] if args.benchmark else [])])
        files = make(benchmarks, list(kept)[: len(args.results)], args.pictures, speed)
        files |= {name: path.read_bytes() for name, path in kept.items()}
        write(files, args.out)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    print(f"{args.out / PAGE}: {len(files)} files, {sum(map(len, files.values())):,} bytes")
    return 0


def kept_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the files by their names beside the page. A results.json is named after its folder.

    Raises:
        ValueError: two files would have the same name.
    """
    kept: dict[str, Path] = {}
    for path in paths:
        name = f"{path.resolve().parent.name}.json" if path.name == "results.json" else path.name
        if name in kept:
            raise ValueError(f"{path}: would be copied to {name} like {kept[name]}; rename one folder")
        kept[name] = path
    return kept


def make(
    benchmarks: Sequence[Benchmark], sources: Sequence[str], pictures: Sequence[str] = (), speed: str = ""
) -> dict[str, bytes]:
    """Return the content of the page and its figures by file name.

    Args:
        benchmarks: the benchmarks.
        sources: names of the reports beside the page.
        pictures: names of pictures to show crops of.
        speed: a section on speed.
    """
    files: dict[str, bytes] = {}
    shown: dict[int, list[str]] = {}
    for number, benchmark in enumerate(benchmarks):
        figures = figures_of(benchmark, pictures)
        shown[number] = []
        for name, (caption, content) in figures.items():
            file = f"{number + 1}_{benchmark.dataset}_{name}"
            files[file] = content
            shown[number].append(f"{caption}:\n\n![{caption}]({quote(file)})")
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return {PAGE: page(benchmarks, published, shown, sources, speed).encode(), **files}


def figures_of(benchmark: Benchmark, wanted: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    """Return captions and contents of the figures of a benchmark, by the end of the file name."""
    figures = {
        f"psnr_{name}.png": (cost.title, _png(plots.plot(benchmark, cost)))
        for name, cost in (("macs", plots.macs(benchmark)), ("seconds", plots.seconds(benchmark)))
    }
    if crops.has_pictures(benchmark):
        scale = benchmark.scales[-1]
        shown = crops.pictures_to_show(benchmark, wanted)
        figures["crops.jpg"] = (
            "Crops with the most detail, with the PSNR of the whole picture",
            _jpeg(crops.crops(benchmark, shown, scale)),
        )
        if any(method.is_mixture for method in benchmark.methods):
            figures["experts.jpg"] = (
                "Expert of each LR pixel, with the shares of the experts",
                _jpeg(crops.expert_maps(benchmark, shown, scale)),
            )
    return figures


def speed_section(path: Path) -> str:
    """Return the tables of a benchmark.json, with headings one level lower.

    Raises:
        ValueError: the file is not a benchmark.json.
    """
    try:
        text = markdown(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{path}: not a benchmark.json of tools/benchmark.py; run tools/benchmark.py again"
        ) from error
    return re.sub(r"^#", "##", text.replace("# Benchmark", "# Speed", 1), flags=re.MULTILINE).strip()


def write(files: dict[str, bytes], folder: Path) -> None:
    """Write a page with its figures, and remove obsolete figures."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with atomic_write(folder / name) as file:
            file.write(content)
    for path in folder.iterdir():
        if (
            re.fullmatch(r"\d+_.*_(psnr_macs|psnr_seconds|crops|experts)\.(png|jpg)", path.name)
            and path.name not in files
        ):
            path.unlink()


def _png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, dpi=110, metadata={"Software": None})
    plots.close(figure)
    palette = Image.open(content).convert("RGB").quantize(128)
    content = io.BytesIO()
    palette.save(content, "PNG", optimize=True)
    return content.getvalue()


def _jpeg(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", **JPEG)
    return content.getvalue()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="FILE", help="results.json of moeisr evaluate"
    )
    parser.add_argument("--benchmark", type=Path, metavar="FILE", help="benchmark.json of tools/benchmark.py")
    parser.add_argument(
        "--pictures",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names of pictures to crop, without suffix (default: largest and smallest gain over bicubic)",
    )
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="OUT", help="output folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
