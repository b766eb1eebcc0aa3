"""Tables of the keys of option files: those of `moeisr options --table`, with meanings and defaults."""

import inspect
import re
from collections.abc import Mapping, Sequence

import yaml

import moeisr_plugin  # noqa: F401  registers the classes with the toolbox
from documents.sources import ROOT, Sources, table

Meanings = Mapping[str, Sequence[str]]
"""Default and meaning by key."""


def tables(sources: Sources) -> str:
    """Return a table per section of an option file and per class of this package."""
    from moeisr_plugin.options.tables import option_tables

    described = meanings()
    parts = []
    for section in re.split(r"^### ", option_tables(), flags=re.MULTILINE)[1:]:
        title, *lines = section.splitlines()
        known = {**_arguments(title), **described.get(title, {})}
        own_type = f"| `type` | {title.removeprefix('type ')} |"
        rows = [
            _row(line, known) for line in lines if line.startswith("| `") and not line.startswith(own_type)
        ]
        heading = f"`{title}`" if title.islower() and " " not in title else title[0].upper() + title[1:]
        parts.append(f"## {heading}\n\n{table([['Key', 'Value', 'Default', 'Meaning'], *rows], 'llll')}")
    return "\n\n".join(parts)


def meanings() -> Mapping[str, Meanings]:
    """Return docs/options.yml: defaults and meanings by the title of the table."""
    described = yaml.safe_load((ROOT / "docs" / "options.yml").read_text(encoding="utf-8"))
    return {title: keys for title, keys in described.items() if not title.startswith(".")}


def _row(line: str, known: Meanings) -> list[str]:
    key, value, default = (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))
    stated, meaning = known.get(key.strip("`"), ("", ""))
    return [key, value, default or stated, meaning]


def _arguments(title: str) -> Meanings:
    """Return the descriptions of the arguments in the docstring of a class, by the title of its table."""
    from moeisr_plugin.options.tables import REGISTRIES

    name = title.removeprefix("type ")
    targets = [target for registry in REGISTRIES for each, target in registry if each == name]
    found: dict[str, tuple[str, str]] = {}
    for target in targets if title.startswith("type ") else ():
        _, _, below = (inspect.getdoc(target) or "").partition("Args:\n")
        block = below.split("\n\n", 1)[0]
        pattern = r"^ {4}(\w+)(?: \([^)]*\))?: (.+?)(?=^ {4}\w|\Z)"
        for key, words in re.findall(pattern, block, re.MULTILINE | re.DOTALL):
            found[key] = ("", _markdown(words))
    return found


def _markdown(words: str) -> str:
    """Return a text of a docstring for a cell, with references as names."""
    text = re.sub(r":\w+:`\.?([^`]+)`", r"`\1`", " ".join(words.split()))
    return text.replace("|", "\\|").replace("``", "`")
