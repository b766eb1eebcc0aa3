"""What weights were started from: networks, the data they were trained on, and their licences.

A checkpoint lists its starting points under `STARTED`: files that were copied whole, in part, or upcycled,
and the teacher of a distillation.
Each of them lists its own, so that the list of a network says what all of its ancestors were trained on.
`UPCYCLED` adds how the experts of a mixture were initialised. Published weights state name, licence and
training data under `PUBLISHED`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from moeisr_plugin.utils.hashing import sha256_of
from moeisr_plugin.utils.tensor_files import read_tensor_file

STARTED = "started_from"
"""Entry with the starting points of a network."""

UPCYCLED = "upcycled_from"
"""Entry of an upcycled network: the file of its source, and the initialisation of each expert."""

PUBLISHED = "published"
"""Entry of published weights with ``name``, ``iterations``, ``licence`` and ``training_data``."""

INDEX = "metafile.yml"

DATA_LICENCES = "Training Data Licenses"
"""Key of an index with the licences of the training data, by their names."""

TEACHER = "teacher"
"""The part of a starting point that gave no weights, but the targets of a distillation."""

Source = dict[str, Any]
"""``part``, ``file``, ``sha256``, and where known ``network``, ``name``, ``iterations``, ``licence``,
``training_data`` (a list with ``name`` and ``licence``) and `STARTED`."""


def starting_point(path: str | os.PathLike[str], *, part: str = "network_g") -> Source:
    """Describe a file of weights that a training starts from.

    Args:
        path: the file.
        part: the part of the network that it fills.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path, content = Path(path).expanduser(), _content(path)
    source: Source = {"part": part, "file": path.name, "sha256": sha256_of(path)}
    network = content.get("network_g")
    if isinstance(network, Mapping) and isinstance(network.get("type"), str):
        source["network"] = network["type"]
    if isinstance(content.get("iter"), int):
        source["iterations"] = content["iter"]
    published = content.get(PUBLISHED)
    source |= (
        published if isinstance(published, Mapping) else _of_index(path.parent / INDEX, source["sha256"])
    )
    if content.get(STARTED):
        source[STARTED] = content[STARTED]
    return source


def passed_on(path: str | os.PathLike[str], teacher: str | None = None) -> dict[str, Any]:
    """Return the entries about its provenance that a checkpoint passes on when its training is resumed.

    Args:
        path: the checkpoint.
        teacher: weights of the teacher from now on.

    Raises:
        CheckpointError: a file cannot be read.
    """
    started = list(_content(path).get(STARTED) or [])
    if teacher:
        source = starting_point(teacher, part=TEACHER)
        known = [(each.get("part"), each.get("sha256")) for each in started]
        started += [source] if (TEACHER, source["sha256"]) not in known else []
    return entries({**_content(path), STARTED: started})


def starting_from(
    network: str | None, encoder: str | None = None, teacher: str | None = None
) -> dict[str, Any]:
    """Return the entries of a training that starts from files of weights.

    Args:
        network: weights of the whole network. Their own `UPCYCLED` still holds after the training.
        encoder: weights of its encoder.
        teacher: weights of the teacher of a distillation.

    Raises:
        CheckpointError: a file cannot be read.
    """
    parts = {"network_g": network, "network_g.encoder": encoder, TEACHER: teacher}
    started = [starting_point(file, part=part) for part, file in parts.items() if file]
    upcycled = _content(network).get(UPCYCLED) if network else None
    return entries({UPCYCLED: upcycled, STARTED: started})


def entries(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return those entries of a checkpoint about its provenance that are not empty."""
    return {key: content[key] for key in (UPCYCLED, STARTED) if content.get(key)}


def ancestors(sources: Sequence[Mapping[str, Any]] | None) -> Iterator[Mapping[str, Any]]:
    """Yield starting points and their own, the nearest first."""
    for source in sources or ():
        yield source
        yield from ancestors(source.get(STARTED))


def _content(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Return the content of a file of weights; empty if it is no mapping."""
    content = read_tensor_file(path)
    return content if isinstance(content, Mapping) else {}


def _of_index(index: Path, sha256: str) -> Source:
    """Return what a model index beside the weights says of them."""
    try:
        models = yaml.safe_load(index.read_text(encoding="utf-8"))["Models"]
        model = next(model for model in models if model["Metadata"].get("SHA-256") == sha256)
        facts = model["Metadata"]
        licences = facts.get(DATA_LICENCES, {})
        return {
            "name": model["Name"],
            "iterations": facts["Iterations"],
            "licence": facts["License"],
            "training_data": [
                {"name": name, **({"licence": licences[name]} if name in licences else {})}
                for name in facts["Training Data"]
            ],
        }
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration):
        return {}
