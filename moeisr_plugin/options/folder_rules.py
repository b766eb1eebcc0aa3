"""Rules of the keys that name folders of pictures, of which a data set may have several."""

import os
from collections.abc import Mapping
from typing import Any

from moeisr_plugin.data.name_templates import NameTemplate
from moeisr_plugin.data.pairing import DATAROOTS
from moeisr_plugin.options.rules import Value
from moeisr_plugin.options.values import list_of, text


def one_or_several(item: Value, words: str) -> Value:
    """Return the rule of a value, or of a list with at least one such value."""

    def read(value: Any) -> Any:
        if isinstance(value, list | tuple) and not value:
            raise ValueError
        return list_of(item).read(value) if isinstance(value, list | tuple) else item.read(value)

    json = {"anyOf": [item.json, {**list_of(item).json, "minItems": 1}]}
    return Value(words=words, read=read, json=json)


def read_template(value: Any) -> str:
    return NameTemplate(text().read(value)).text


FOLDERS = one_or_several(text(), "a folder of pictures or an LMDB, or a list of them")
LISTINGS = one_or_several(text(), "a text file, or a list with one for each folder")
TEMPLATES = one_or_several(
    Value(
        words="a name with {} once",
        read=read_template,
        json={"type": "string", "pattern": r"^((?!\{\}).)*\{\}((?!\{\}).)*$"},
    ),
    "a name with {} once, such as {}_LR4, or a list with one for each folder",
)


def listed(value: Any) -> list[Any]:
    """Return the entries of a key that holds one, several or none."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def expanded_roots(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dataroots of a data set, with `~` expanded as in the toolbox."""
    found: dict[str, Any] = {}
    for key in DATAROOTS:
        if dataset.get(key):
            roots = [os.path.expanduser(root) for root in listed(dataset[key])]
            found[key] = roots if isinstance(dataset[key], list | tuple) else roots[0]
    return found
