"""Maintain the model index (OpenMMLab's metafile.yml) and the model table (BasicSR's ModelZoo.md)."""

from pathlib import Path
from typing import Any

import yaml

from moeisr_plugin.evaluation.report import protocol_sentence
from moeisr_plugin.publishing.card import Model, collection_entry, model_entry
from moeisr_plugin.utils.regular_files import read_text

Index = dict[str, Any]


def read_index(path: Path) -> Index:
    """Read an index. If the file does not exist, return an empty index.

    Raises:
        ValueError: the file is not a model index.
    """
    if not path.exists():
        return {"Collections": [], "Models": []}
    try:
        index = yaml.safe_load(read_text(path))
        names = [entry["Name"] for key in ("Collections", "Models") for entry in index[key]]
        complete = all(key in model for model in index["Models"] for key in ("Results", "Weights", "Config"))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a model index; repair it or publish to another folder") from error
    if not (names or index == {"Collections": [], "Models": []}) or not complete:
        raise ValueError(f"{path}: not a model index; repair it or publish to another folder")
    return index


def with_model(index: Index, model: Model) -> Index:
    """Return the index with a model added. A model of the same name is replaced."""
    return {
        **index,
        "Collections": _with_entry(index["Collections"], collection_entry(model)),
        "Models": _with_entry(index["Models"], model_entry(model)),
    }


def zoo_tables(index: Index) -> str:
    """Return a table per protocol as in BasicSR's docs/ModelZoo.md, then the models without results."""
    results = [result for model in index["Models"] for result in model["Results"]]
    unmeasured = [model for model in index["Models"] if not model["Results"]]
    parts = ["# Model zoo"]
    for protocol in dict.fromkeys(result["Protocol"] for result in results):
        parts += [protocol_sentence(protocol), _zoo_table(index["Models"], protocol)]
    if unmeasured or not results:
        parts.append("\n".join(["|Exp Name|", "| :--- |", *(f"| {_link(model)} |" for model in unmeasured)]))
    return "\n\n".join(parts) + "\n"


def _zoo_table(models: list[dict[str, Any]], protocol: str) -> str:
    rows = {_link(model): _figures(model, protocol) for model in models}
    columns = list(dict.fromkeys(column for figures in rows.values() for column in figures))
    lines = ["|Exp Name | " + " | ".join(f"{column} (PSNR/SSIM)" for column in columns) + " |"]
    lines.append("| :--- |" + " :---: |" * len(columns))
    for link, figures in rows.items():
        if figures:
            lines.append(f"| {link} | " + " | ".join(figures.get(column, "") for column in columns) + " |")
    return "\n".join(lines)


def _figures(model: dict[str, Any], protocol: str) -> dict[str, str]:
    """Return PSNR and SSIM by data set and scale."""
    return {
        f"{result['Dataset']} ×{scale}": f"{value:.4f} / {result['Metrics'][f'SSIM x{scale}']:.4f}"
        for result in model["Results"]
        if result["Protocol"] == protocol
        for metric, value in result["Metrics"].items()
        for name, _, scale in [metric.partition(" x")]
        if name == "PSNR"
    }


def _link(model: dict[str, Any]) -> str:
    return f"[{Path(model['Weights']).stem}]({model['Weights']})"


def _with_entry(entries: list[dict[str, Any]], entry: dict[str, Any]) -> list[dict[str, Any]]:
    names = [each["Name"] for each in entries]
    if entry["Name"] not in names:
        return [*entries, entry]
    return [entry if name == entry["Name"] else each for name, each in zip(names, entries, strict=True)]
