"""Read the card file: licence, limits, hardware and training images, as stated by the author."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from moeisr_plugin.utils.regular_files import read_text


@dataclass(frozen=True)
class Images:
    """A source of training images.

    Attributes:
        name: name of the collection.
        licence: licence of the images.
        source: address or publication.
        pictures: number of pictures used for training.
    """

    name: str
    licence: str
    source: str
    pictures: int


@dataclass(frozen=True)
class Statement:
    """Facts stated by the author of the weights.

    Attributes:
        licence: licence of the weights.
        limits: uses that the weights are not suitable for.
        hardware: hardware of the training.
        training_images: sources of the training images.
        origin: source and licence of the weights that the training started from, if any.
        url: address of the folder where the file of weights is published, if it is.
    """

    licence: str
    limits: str
    hardware: str
    training_images: tuple[Images, ...]
    origin: str | None = None
    url: str | None = None


def read_statement(path: Path) -> Statement:
    """Read a card file.

    Raises:
        ValueError: a field is missing, unknown, empty or of the wrong type. The message names it in one line.
        OSError: the file cannot be read.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    given = _fields(Statement, content, str(path))
    images = given["training_images"]
    if not isinstance(images, list) or not images:
        raise ValueError(f"{path}: training_images: list the sources, each with {_names(Images)}")
    sources = [
        Images(**_checked(Images, _fields(Images, each, where), where))
        for number, each in enumerate(images, 1)
        for where in [f"{path}: training_images: {number}"]
    ]
    statement = Statement(**_checked(Statement, {**given, "training_images": tuple(sources)}, str(path)))
    if statement.url is not None and not re.fullmatch(r"https?://[^\s<>]+", statement.url):
        raise ValueError(f"{path}: url is {statement.url!r}; give an address that starts with https://")
    return statement


def _fields(kind: type, content: Any, where: str) -> dict[str, Any]:
    """Check that the content has the fields of a dataclass, and no others. Defaults make a field optional."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: contains no fields; give {_names(kind)}")
    names = [field.name for field in fields(kind)]
    for name in (field.name for field in fields(kind) if field.default is MISSING):
        if name not in content:
            raise ValueError(f"{where}: {name} is missing; give {_names(kind)}")
    for name in content:
        if name not in names:
            raise ValueError(f"{where}: {name} is unknown; give only {_names(kind)}")
    return dict(content)


def _checked(kind: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    for field in (field for field in fields(kind) if field.name in values):
        value = values[field.name]
        if field.type in (str, str | None) and not (isinstance(value, str) and value.strip()):
            raise ValueError(f"{where}: {field.name} is {value!r}; give a text")
        if field.type is int and (type(value) is not int or value < 1):
            raise ValueError(f"{where}: {field.name} is {value!r}; give a whole number, 1 or more")
    return {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}


def _names(kind: type) -> str:
    return ", ".join(field.name for field in fields(kind))
