"""`moeisr networks`: a table of the bundled networks."""

import argparse
from pathlib import Path
from typing import Any

import yaml

from moeisr_plugin.checkpoints.bundled import DEFAULT, bundled_weights

DESCRIPTION = """List the networks that come with the package: size of the file in megabytes, number of
parameters, PSNR in dB on the data set Set14 at three scales (higher is better), and when to take each. Use
one with moeisr upscale -n NAME."""

DATASET, PROTOCOL = "Set14", "benchmark"
SCALES = (2, 3, 4)

COMPARISON = "to compare: "
"""Begin of the advice on networks that others are better than, which comparisons need."""

ADVICE = {
    "MoEISR_LIIF_b": "the best quality, if seconds do not matter",
    "MoEISR_LIIF_s": "nearly the best quality in less time, for many or large pictures",
    "photo_MoEISR_LIIF_s": "pictures with JPEG blocks or slight noise; it softens clean ones slightly",
    "tiny_LIIF": f"{COMPARISON}one expert for all pixels",
    "tiny_LTE": f"{COMPARISON}one expert for all pixels, on LTE",
    "tiny_MoEISR_LIIF_b": "fast, for drafts",
    "tiny_MoEISR_LIIF_s": "the fastest, for many pictures or an old computer",
}
"""When to take each network. tools/make_docs.py writes these texts into README.md and docs/, too.

It may name networks that are not there yet.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    return subparsers.add_parser(
        "networks", help="list the networks that come with the package", description=DESCRIPTION
    )


def run(args: argparse.Namespace) -> int:
    """Print the table.

    Returns:
        0.
    """
    files = bundled_weights()
    models = _models(next(iter(files.values())).parent / "metafile.yml") if files else {}
    header = ("network", "MB", "parameters", *(f"{DATASET} x{scale}" for scale in SCALES), "take it for")
    rows = [header, *(_row(name, file, models.get(name, {})) for name, file in files.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers, advice in rows:
        cells = [name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:-1]), advice]
        print("  ".join(cells).rstrip())
    if files:
        print(f"\nDefault: {DEFAULT}. Files: {files[DEFAULT].parent}")
    return 0


def _models(index: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a model index by name. Empty if there is no index."""
    if not index.is_file():
        return {}
    return {model["Name"]: model for model in yaml.safe_load(index.read_text(encoding="utf-8"))["Models"]}


def _is_shown(result: dict[str, Any]) -> bool:
    return (result["Dataset"], result["Protocol"]) == (DATASET, PROTOCOL)


def _row(name: str, file: Path, model: dict[str, Any]) -> tuple[str, ...]:
    parameters = model.get("Metadata", {}).get("Parameters")
    metrics = next((each["Metrics"] for each in model.get("Results", ()) if _is_shown(each)), {})
    psnrs = [metrics.get(f"PSNR x{scale}") for scale in SCALES]
    return (
        name,
        f"{file.stat().st_size / 1e6:.1f}",
        "" if parameters is None else f"{parameters:,}",
        *("" if psnr is None else f"{psnr:.2f}" for psnr in psnrs),
        ADVICE.get(name, "") + " (default)" * (name == DEFAULT),
    )
