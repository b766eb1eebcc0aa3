"""Publishing trained weights: alone, under a name that tells their contents, with a card and in an index."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml

from moeisr_plugin.atomic import appearing_whole, folder_for_results
from moeisr_plugin.card_statement import Statement, read_statement
from moeisr_plugin.checkpoints import ORIGIN, network_from, network_of, read_checkpoint, save_checkpoint
from moeisr_plugin.evaluation import BICUBIC, sha256_of
from moeisr_plugin.model_card import Model, Results, card
from moeisr_plugin.model_index import read_index, with_model, zoo_tables
from moeisr_plugin.report import infinite_again, require_float32
from moeisr_plugin.training_log import Training, read_training

INDEX = "metafile.yml"
ZOO = "ModelZoo.md"
DTYPES = {"float32": torch.float32, "float16": torch.float16}


def publish(
    checkpoint: Path,
    folder: Path,
    *,
    card_file: Path,
    results: Sequence[Path] = (),
    experiment: Path | None = None,
    name: str | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
) -> list[Path]:
    """Writes a checkpoint's averaged weights, if it has any, else its weights, with all there is to know.

    The folder gets NAME-XXXXXXXX.safetensors, in which X are the first digits of its SHA-256; NAME.md, the
    card; an entry in metafile.yml, a model index as OpenMMLab's projects keep; and ModelZoo.md, the table of
    all models in the index as BasicSR keeps it. All of it is written or nothing.

    Args:
        checkpoint: of a training.
        folder: for what is published; it may hold other models.
        card_file: what only a person can say, a YAML file of the fields of `Statement`.
        results: results.json of `moeisr evaluate`, of this checkpoint or of the published weights.
        experiment: the training's folder with its logs; by default the one above the checkpoint's.
        name: of the model; by default the experiment's.
        dtype: a key of `DTYPES`.
        overwrite: replace a model of this name.

    Returns:
        The files that were written.

    Raises:
        ValueError: something given is wrong or contradicts something else; one line.
        OSError: a file cannot be read or written.
    """
    statement = read_statement(card_file)
    content = read_checkpoint(checkpoint)
    net = network_of(content, checkpoint)
    training = read_training(
        experiment or checkpoint.resolve().parent.parent, checkpoint, content.get("iter")
    )
    _check_pictures(statement, training, card_file)
    _check_network(net.hyper_parameters, training, checkpoint)
    name = str(name or training.options["name"])
    if name != Path(name).name:
        raise ValueError(f"--name {name}: is no name of a file; leave slashes out")
    if f"{name}.md" == ZOO:
        raise ValueError(f"--name {name}: its card would be {ZOO}, the table of all models; choose another")
    index = read_index(folder / INDEX)
    former = [folder / str(model["Weights"]) for model in index["Models"] if model["Name"] == name]
    if former and not overwrite:
        raise ValueError(f"{folder / INDEX}: has a {name} already; choose another --name or add --overwrite")
    with folder_for_results(folder), TemporaryDirectory(dir=folder, prefix=".publish") as stage:
        staged = Path(stage, "weights.safetensors")
        weights = {key: _as_type(value, DTYPES[dtype]) for key, value in net.state_dict().items()}
        origin = {ORIGIN: content[ORIGIN]} if ORIGIN in content else {}
        save_checkpoint(staged, {"params": weights, "network_g": net.hyper_parameters, **origin})
        digest = sha256_of(staged)
        hashes = {digest: True, sha256_of(checkpoint): dtype == "float32"}
        model = Model(
            name=name,
            file=f"{name}-{digest[:8]}.safetensors",
            size=staged.stat().st_size,
            sha256=digest,
            dtype=dtype,
            net=network_from(staged),
            averaged=bool(content.get("params_ema")),
            origin=content.get(ORIGIN),
            training=training,
            statement=statement,
            results=[_results(path, name, hashes) for path in results],
        )
        index = with_model(index, model)
        staged.rename(Path(stage, model.file))
        texts = {
            f"{name}.md": card(model),
            INDEX: yaml.safe_dump(index, sort_keys=False, allow_unicode=True, width=100),
            ZOO: zoo_tables(index),
        }
        for file_name, text in texts.items():
            with appearing_whole(Path(stage, file_name)) as file:
                file.write(text.encode())
        written = _move((Path(stage, file_name) for file_name in (model.file, *texts)), folder)
    for path in former:
        if path not in written and path.parent == folder:
            path.unlink(missing_ok=True)
    return written


def _as_type(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _check_pictures(statement: Statement, training: Training, card_file: Path) -> None:
    stated = sum(images.pictures for images in statement.training_images)
    if stated != training.pictures:
        raise ValueError(
            f"{card_file}: training_images: are {stated} pictures in all, but the training read "
            f"{training.pictures}; correct their numbers"
        )


def _check_network(hyper_parameters: Mapping[str, Any], training: Training, checkpoint: Path) -> None:
    """Refuses logs of another training than the checkpoint's."""
    trained = training.options["network_g"]
    differing = [key for key, value in trained.items() if key != "encoder" and value != hyper_parameters[key]]
    encoder = {key: value for key, value in trained["encoder"].items() if key != "pretrained"}
    differing += [f"encoder.{key}" for key in encoder if encoder[key] != hyper_parameters["encoder"].get(key)]
    if differing:
        raise ValueError(
            f"{checkpoint}: differs in network_g.{differing[0]} from the training whose logs are given; name "
            "its own folder by --experiment"
        )


def _results(path: Path, name: str, rounded: Mapping[str, bool]) -> Results:
    """The rows of a report that are of bicubic or of these weights.

    Args:
        path: the report.
        name: what the weights are to be called.
        rounded: by the SHA-256 of files of the weights, whether they have the published precision.
    """
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        hashes = {key: network["sha256"] for key, network in report["networks"].items()}
        ours = [key for key, digest in hashes.items() if digest in rounded]
        rows = [
            {**infinite_again(row), "weights": BICUBIC if row["weights"] == BICUBIC else name}
            for row in report["averages"]
            if row["weights"] in (BICUBIC, *ours[:1])
        ]
        facts = report["dataset"], report["protocol"], report["machine"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: no results.json as moeisr evaluate writes it; write it anew") from error
    if not ours:
        raise ValueError(f"{path}: measured other weights; give results of this checkpoint")
    require_float32(report, path)
    return Results(*facts, rows, rounded[hashes[ours[0]]])


def _move(staged: Iterable[Path], folder: Path) -> list[Path]:
    """Moves complete files to where they belong."""
    written = []
    for path in staged:
        os.replace(path, folder / path.name)
        written.append(folder / path.name)
    return written
