"""Rules: convert a value or a section to its type, or report the problem. :mod:`.values` has common rules."""

import reprlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, TypeVar

Report = Callable[[str, str], None]
"""Takes the path of a key and a message: the problem and the remedy."""

FAULTY: Any = object()
"""Marks a value with a reported problem."""


class UnsoundError(Exception):
    """A check read a value with a reported problem."""


class Sound(OrderedDict[str, Any]):
    """A section with its values in their types, without those that have reported problems.

    Reading one of the latter raises UnsoundError, so that no check uses a default in its place.
    """

    faulty: frozenset[str] = frozenset()

    def __contains__(self, key: object) -> bool:
        self._must_be_sound(key)
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self._must_be_sound(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401  that would call get

    def _must_be_sound(self, key: object) -> None:
        if key in self.faulty:
            raise UnsoundError(key)


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """The rule of a value.

    Attributes:
        words: the allowed values for messages, as in "give a number".
        required: the key must be present.
        nullable: the value may be empty (`~`).
    """

    words: str
    required: bool = False
    nullable: bool = False

    def apply(self, value: Any, path: str, report: Report) -> Any:
        """Return the value in its type, or report a problem and return `FAULTY`."""
        if value is not None:
            return self._apply(value, path, report)
        if self.nullable:
            return None
        report(path, f"is empty; give {self.words}{'' if self.required else ', or remove the line'}")
        return FAULTY

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the values for editors, without what is required: a base may hold it."""
        schema = self._json_schema()
        if self.nullable and schema:
            schema = _json_or_null(schema)
        words = f"{self.words}, or empty" if self.nullable else self.words
        return {"description": f"{words}; required" if self.required else words, **schema}

    @abstractmethod
    def _apply(self, value: Any, path: str, report: Report) -> Any: ...

    @abstractmethod
    def _json_schema(self) -> dict[str, Any]: ...


AnyRule = TypeVar("AnyRule", bound=Rule)


def needed(rule: AnyRule) -> AnyRule:
    """Return the rule of a key that must be present."""
    return replace(rule, required=True)


def requiring(rules: Mapping[str, Rule], keys: Collection[str]) -> dict[str, Rule]:
    """Return rules by which some keys must be present."""
    return {key: needed(rule) if key in keys else rule for key, rule in rules.items()}


def or_empty(rule: AnyRule) -> AnyRule:
    """Return the rule of a key whose value may be empty."""
    return replace(rule, nullable=True)


@dataclass(frozen=True, kw_only=True)
class Value(Rule):
    """Any value but a section.

    Attributes:
        read: returns the value in its type or raises ValueError.
        json: the JSON schema of the values that `read` accepts, without numbers given as texts.
    """

    read: Callable[[Any], Any]
    json: Mapping[str, Any] = field(default_factory=dict)

    def _apply(self, value: Any, path: str, report: Report) -> Any:
        try:
            return self.read(value)
        except ValueError:
            report(path, f"is {shown(value)}; give {self.words}")
            return FAULTY

    def _json_schema(self) -> dict[str, Any]:
        return dict(self.json)


@dataclass(frozen=True, kw_only=True)
class Section(Rule):
    """A mapping.

    Attributes:
        keys: the known keys and their rules.
        open: other keys are allowed.
    """

    words: str = "a section of keys and values"
    keys: Mapping[str, Rule]
    open: bool = False

    def _apply(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, Mapping):
            report(path, f"is {shown(value)}; give {self.words}")
            return FAULTY
        return apply_to_keys(self.keys, value, path, report, open=self.open)

    def _json_schema(self) -> dict[str, Any]:
        return json_object(self.keys, open=self.open)


@dataclass(frozen=True, kw_only=True)
class EachKey(Rule):
    """A mapping whose keys are free and whose values all follow one rule."""

    words: str = "a section of keys and values"
    rule: Rule

    def _apply(self, value: Any, path: str, report: Report) -> Any:
        keys = dict.fromkeys(value, self.rule) if isinstance(value, Mapping) else {}
        return Section(keys=keys).apply(value, path, report)

    def _json_schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.rule.json_schema()}


@dataclass(frozen=True, kw_only=True)
class Unread(Rule):
    """A key of toolbox option files that nothing reads; `words` state what applies instead."""

    def apply(self, value: Any, path: str, report: Report) -> Any:
        return self._apply(value, path, report)

    def _apply(self, value: Any, path: str, report: Report) -> Any:
        report(path, f"is read by nothing, {self.words}; remove the line")
        return FAULTY

    def _json_schema(self) -> dict[str, Any]:
        return {"not": {}}


@dataclass(frozen=True, kw_only=True)
class Misplaced(Rule):
    """A key that another model reads; `words` state what it is of, and the remedy."""

    def apply(self, value: Any, path: str, report: Report) -> Any:
        return self._apply(value, path, report)

    def _apply(self, value: Any, path: str, report: Report) -> Any:
        report(path, self.words)
        return FAULTY

    def _json_schema(self) -> dict[str, Any]:
        return {"not": {}}


def apply_to_keys(
    rules: Mapping[str, Rule], section: Mapping, path: str, report: Report, *, open: bool
) -> Sound:
    """Report problems with the keys of a section, and return the valid ones."""
    sound = Sound()
    faulty: set[str] = set()
    for key, value in section.items():
        if key in rules:
            value = rules[key].apply(value, below(path, key), report)
            if value is FAULTY:
                faulty.add(key)
                continue
        elif not open:
            report(below(path, key), f"unknown; {nearest(key, rules)}")
            faulty.update(get_close_matches(str(key), rules, n=1))  # probably present, but misspelt
            continue
        sound[key] = value
    for key, rule in rules.items():
        if rule.required and key not in section and key not in faulty:
            report(below(path, key), f"missing; give {rule.words}")
            faulty.add(key)
    sound.faulty = frozenset(faulty.difference(sound))
    return sound


def _json_or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "type" not in schema:  # an enum
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": [*kinds, "null"]}


def json_object(
    rules: Mapping[str, Rule], *, open: bool, defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the JSON schema of a section; `open` allows other keys."""
    properties = {key: rule.json_schema() for key, rule in rules.items()}
    for key, default in (defaults or {}).items():
        if key in properties and isinstance(default, bool | int | float | str | list | tuple | None):
            properties[key]["default"] = default
    return {"type": "object", "properties": properties, "additionalProperties": open}


def json_cases(sections: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the JSON schemas that apply one schema for each `type`.

    They ask for an object, because an empty value, which some sections may have, meets any condition on keys.
    """
    return [
        {
            "if": {"type": "object", "properties": {"type": {"const": kind}}, "required": ["type"]},
            "then": section,
        }
        for kind, section in sections.items()
    ]


def below(path: str, key: object) -> str:
    """Return the path of a key in the section at `path`."""
    return f"{path}.{key}" if path else str(key)


def nearest(name: object, known: Collection[str]) -> str:
    """Return the remedy for an unknown name."""
    close = get_close_matches(str(name), known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known here: {', '.join(sorted(known))}" if known else "remove it"


def shown(value: Any) -> str:
    """Return a value for messages, shortened."""
    if isinstance(value, Mapping):
        return "a section"
    return reprlib.repr(list(value)) if isinstance(value, tuple) else reprlib.repr(value)
