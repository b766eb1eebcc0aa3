"""Maintain the model index (OpenMMLab's metafile.yml) and the model table (BasicSR's ModelZoo.md)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from moeisr_plugin.evaluation.report import protocol_sentence
from moeisr_plugin.publishing.card import Model, collection_entry, model_entry
from moeisr_plugin.utils.regular_files import read_text

Index = dict[str, Any]
ZOO_PROTOCOL = "basicsr"
"""The protocol of BasicSR's docs/ModelZoo.md."""


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


def with_results(index: Index, name: str, results: Sequence[Mapping[str, Any]]) -> Index:
    """Return the index with results of a model added.

    Args:
        index: the index.
        name: name of the model.
        results: entries as in `card.result_entry`. They replace those of the same data set and protocol.

    Raises:
        ValueError: the index has no model of this name.
    """
    if name not in [model["Name"] for model in index["Models"]]:
        raise ValueError(f"{name}: is not in the index; publish it first")
    places = {(each["Dataset"], each["Protocol"]): each for each in results}

    def added(model: Mapping[str, Any]) -> dict[str, Any]:
        kept = [each for each in model["Results"] if (each["Dataset"], each["Protocol"]) not in places]
        return {**model, "Results": [*kept, *results]}

    models = [added(model) if model["Name"] == name else model for model in index["Models"]]
    return {**index, "Models": models}


def zoo_tables(index: Index) -> str:
    """Return a table in form and measure of BasicSR's docs/ModelZoo.md, then the models without figures.

    Results of other protocols are not in it, because readers set the rows beside those of BasicSR.
    """
    measured = [model for model in index["Models"] if is_in_zoo_measure(model)]
    others = [model for model in index["Models"] if model not in measured]
    parts = ["# Model zoo"]
    if measured:
        parts += [f"As in BasicSR's tables. {protocol_sentence(ZOO_PROTOCOL)}", _zoo_table(measured)]
    if measured and others:
        parts.append(f"Not measured by this protocol (`moeisr evaluate --protocol {ZOO_PROTOCOL}`):")
    if others or not measured:
        parts.append("\n".join(["|Exp Name|", "| :--- |", *(f"| {_link(model)} |" for model in others)]))
    return "\n\n".join(parts) + "\n"


def is_in_zoo_measure(model: Mapping[str, Any]) -> bool:
    """Return whether a model has results in the measure of BasicSR's tables."""
    return any(result["Protocol"] == ZOO_PROTOCOL for result in model["Results"])


def _zoo_table(models: list[dict[str, Any]]) -> str:
    rows = {_link(model): _figures(model) for model in models}
    columns = list(dict.fromkeys(column for figures in rows.values() for column in figures))
    lines = ["|Exp Name | " + " | ".join(f"{column} (PSNR/SSIM)" for column in columns) + " |"]
    lines.append("| :--- |" + " :---: |" * len(columns))
    for link, figures in rows.items():
        lines.append(f"| {link} | " + " | ".join(figures.get(column, "") for column in columns) + " |")
    return "\n".join(lines)


def _figures(model: dict[str, Any]) -> dict[str, str]:
    """Return PSNR and SSIM by data set and scale."""
    return {
        f"{result['Dataset']} ×{scale}": f"{value:.4f} / {result['Metrics'][f'SSIM x{scale}']:.4f}"
        for result in model["Results"]
        if result["Protocol"] == ZOO_PROTOCOL
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
