"""Describe the weights that a training started from, their data and their licences."""

from collections.abc import Mapping, Sequence
from typing import Any

from moeisr_plugin.checkpoints.provenance import DATA_LICENCES, TEACHER, ancestors
from moeisr_plugin.publishing.statement import Statement

Started = Sequence[Mapping[str, Any]]
"""Starting points, as in `checkpoints.provenance`."""


def summary(started: Started, *, distilled: bool = False) -> str:
    """Return all starting points in one line, the nearest first; empty if there is none.

    Args:
        started: the starting points.
        distilled: return the teachers instead.
    """
    wanted = [source for source in started if (source["part"] == TEACHER) == distilled]
    return "; before that, ".join(_in_words(source) for source in ancestors(wanted))


def table(started: Started) -> str:
    """Return the table of the starting points in Markdown, with their data and licences."""
    lines = ["| Started from | Training data | Licence |", "|---|---|---|"]
    for source in ancestors(started):
        data = [
            f"{each['name']} ({each['licence']})" if "licence" in each else each["name"]
            for each in source.get("training_data", ())
        ]
        licence = source.get("licence", "not stated")
        lines.append(f"| {_in_words(source)} | {'; '.join(data) or 'not stated'} | {licence} |")
    return "\n".join(lines)


def upcycling(upcycled: Mapping[str, Any]) -> str:
    """Return how the experts of an upcycled network were initialised, in Markdown."""
    experts = [f"- depth {expert['depth']}: {expert['how']}" for expert in upcycled["experts"]]
    return (
        f"Upcycled from the {upcycled['network']} in `{upcycled['file']}`, SHA-256 `{upcycled['sha256']}`. "
        "Its layers initialised the experts:\n\n" + "\n".join(experts)
    )


def training_data(statement: Statement, started: Started) -> list[str]:
    """Return the names of all collections that the weights have seen, those of the last training first."""
    own = [images.name for images in statement.training_images]
    inherited = [data["name"] for source in ancestors(started) for data in source.get("training_data", ())]
    return list(dict.fromkeys([*own, *inherited]))


def data_licences(statement: Statement, started: Started) -> dict[str, str]:
    """Return the licences of these collections by name, of those that state one."""
    inherited = [data for source in ancestors(started) for data in source.get("training_data", ())]
    own = {images.name: images.licence for images in statement.training_images}
    return {**_licences(inherited), **own}


def index_entries(started: Started) -> list[dict[str, Any]]:
    """Return the entries of the starting points in the model index."""
    return [_index_entry(source) for source in ancestors(started)]


def _in_words(source: Mapping[str, Any]) -> str:
    name = f"{source['name']}, " if "name" in source else ""
    parts = {"network_g.encoder": " (encoder only)", TEACHER: " (teacher)"}
    part = parts.get(source["part"], "")
    iterations = f", {source['iterations']:,} iterations" if "iterations" in source else ""
    return f"{name}`{source['file']}`{part}, SHA-256 `{source['sha256']}`{iterations}"


def _licences(collections: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {data["name"]: data["licence"] for data in collections if "licence" in data}


def _index_entry(source: Mapping[str, Any]) -> dict[str, Any]:
    named = {
        "Name": source.get("name"),
        "File": source["file"],
        "Part": source["part"],
        "SHA-256": source["sha256"],
        "Iterations": source.get("iterations"),
        "Training Data": [data["name"] for data in source.get("training_data", ())] or None,
        DATA_LICENCES: _licences(source.get("training_data", ())) or None,
        "License": source.get("licence"),
    }
    return {key: value for key, value in named.items() if value is not None}
