"""Publish trained weights with a card, an index entry and a row in the model table."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import yaml

from moeisr_plugin.checkpoints.network import network_from, network_of, read_checkpoint, save_checkpoint
from moeisr_plugin.checkpoints.provenance import INDEX, PUBLISHED, STARTED, UPCYCLED, entries
from moeisr_plugin.publishing.card import ZOO, Model, card
from moeisr_plugin.publishing.index import read_index, with_model, zoo_tables
from moeisr_plugin.publishing.reports import read_results
from moeisr_plugin.publishing.statement import Statement, read_statement
from moeisr_plugin.publishing.training_log import Training, read_training
from moeisr_plugin.utils.atomic import atomic_write, prepared_folder, staging_folder
from moeisr_plugin.utils.hashing import sha256_of
from moeisr_plugin.utils.regular_files import require_replaceable

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
    """Publish the averaged weights of a checkpoint, or its weights if there are no averaged ones.

    If an input is wrong, no file is written. Otherwise the folder receives:

    - NAME-XXXXXXXX.safetensors, the weights, with the first 8 digits of their SHA-256;
    - NAME.md, the card;
    - metafile.yml with an entry of the model, a model index as in OpenMMLab's projects;
    - ModelZoo.md, the table of all models of the index, as in BasicSR, with results of the protocol basicsr.

    Args:
        checkpoint: checkpoint of a training.
        folder: output folder. It may contain other models.
        card_file: YAML file with the fields of `Statement`.
        results: results.json of `moeisr evaluate` for this checkpoint or for the published weights.
        experiment: folder with the training logs. By default the parent of the checkpoint's folder.
        name: name of the model. By default the name of the experiment.
        dtype: a key of `DTYPES`.
        overwrite: whether to replace a model of this name.

    Returns:
        The paths of the written files.

    Raises:
        ValueError: an input is wrong or contradicts another one. The message is one line.
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
        raise ValueError(f"--name {name}: is not a file name; remove the slashes")
    if f"{name}.md" == ZOO:
        raise ValueError(f"--name {name}: its card would replace {ZOO}, the model table; choose another name")
    for file_name in (f"{name}.md", INDEX, ZOO):
        require_replaceable(folder / file_name)
    index = read_index(folder / INDEX)
    former = [
        folder / PurePosixPath(str(model["Weights"])).name
        for model in index["Models"]
        if model["Name"] == name
    ]
    if former and not overwrite:
        raise ValueError(
            f"{folder / INDEX}: already contains {name}; choose another --name or add --overwrite"
        )
    with prepared_folder(folder), staging_folder(folder) as stage:
        staged = Path(stage, "weights.safetensors")
        weights = {key: _as_type(value, DTYPES[dtype]) for key, value in net.state_dict().items()}
        published = {
            "name": name,
            "iterations": training.iterations,
            "licence": statement.licence,
            "training_data": [
                {"name": images.name, "licence": images.licence} for images in statement.training_images
            ],
        }
        described = {"params": weights, "network_g": net.hyper_parameters, PUBLISHED: published}
        save_checkpoint(staged, {**described, **entries(content)})
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
            upcycled=content.get(UPCYCLED),
            started=content.get(STARTED) or [],
            training=training,
            statement=statement,
            results=[read_results(path, name, hashes) for path in results],
        )
        index = with_model(index, model)
        staged.rename(Path(stage, model.file))
        texts = {
            f"{name}.md": card(model),
            INDEX: yaml.safe_dump(index, sort_keys=False, allow_unicode=True, width=100),
            ZOO: zoo_tables(index),
        }
        for file_name, text in texts.items():
            with atomic_write(Path(stage, file_name)) as file:
                file.write(text.encode())
        written = _move([Path(stage, file_name) for file_name in (model.file, *texts)], folder)
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
            f"{card_file}: training_images: the sources sum to {stated} pictures, but the training used "
            f"{training.pictures}; correct the numbers"
        )


def _check_network(hyper_parameters: Mapping[str, Any], training: Training, checkpoint: Path) -> None:
    """Raise ValueError if the logs belong to a training of another network."""
    trained = training.options["network_g"]
    differing = [
        key for key, value in trained.items() if key != "encoder" and value != hyper_parameters.get(key)
    ]
    encoder = {key: value for key, value in trained["encoder"].items() if key != "pretrained"}
    differing += [f"encoder.{key}" for key in encoder if encoder[key] != hyper_parameters["encoder"].get(key)]
    if differing:
        raise ValueError(
            f"{checkpoint}: network_g.{differing[0]} differs from the training logs; give the folder of this "
            "training by --experiment"
        )


def _move(staged: Sequence[Path], folder: Path) -> list[Path]:
    """Move staged files into the folder, all or none if a path is taken, and return their paths."""
    targets = [folder / path.name for path in staged]
    for target in targets:
        require_replaceable(target)
    for path, target in zip(staged, targets, strict=True):
        os.replace(path, target)
    return targets
