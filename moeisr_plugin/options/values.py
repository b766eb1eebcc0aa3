"""Rules of common values: flags, texts, numbers, lists and choices."""

import datetime
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from moeisr_plugin.options.rules import Report, Value


def anything() -> Value:
    """Return the rule that accepts any value."""
    return Value(words="a value", read=lambda value: value, nullable=True)


def flag() -> Value:
    return Value(words="true or false", read=_read_flag, json={"type": "boolean"})


def text() -> Value:
    return Value(words="a text", read=_read_text, json={"type": ["string", "integer"], "minLength": 1})


@dataclass(frozen=True, kw_only=True)
class Choice(Value):
    """One of some words. Where `none` is one of them, an empty value means `none`."""

    names: Collection[str]

    def apply(self, value: Any, path: str, report: Report) -> Any:
        if value is None and not self.nullable and "none" in self.names:
            return "none"
        return super().apply(value, path, report)

    def _json_schema(self) -> dict[str, Any]:
        return {"enum": [*self.names, *([None] if "none" in self.names else [])]}


def one_of(*names: str) -> Choice:
    """Return the rule of a value that is one of some words."""

    def read(value: Any) -> str:
        if value not in names:
            raise ValueError
        return value

    words = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return Choice(words=words, read=read, names=names)


def number(
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> Value:
    """Return the rule of a finite number in a range."""
    words = f"a number{_range_words(above, least, below, most)}"

    def read(value: Any) -> float:
        return _within(_read_number(value), above, least, below, most)

    return Value(words=words, read=read, json=_json_range("number", above, least, below, most))


def whole(least: float = -math.inf, *, below: float = math.inf, most: float = math.inf) -> Value:
    """Return the rule of a whole number in a range; `!!float 1e6` is one."""
    words = f"a whole number{_range_words(-math.inf, least, below, most)}"

    def read(value: Any) -> int:
        read_value = _within(_read_number(value), -math.inf, least, below, most)
        if read_value != int(read_value):
            raise ValueError
        return int(read_value)

    return Value(words=words, read=read, json=_json_range("integer", -math.inf, least, below, most))


def list_of(item: Value, *, length: int | None = None) -> Value:
    """Return the rule of a list whose items follow one rule."""
    count = "" if length is None else f"{length} of "

    def read(value: Any) -> list:
        if not isinstance(value, list | tuple) or length not in (None, len(value)) or None in value:
            raise ValueError
        return [item.read(part) for part in value]

    size = {} if length is None else {"minItems": length, "maxItems": length}
    json = {"type": "array", "items": item.json_schema(), **size}
    return Value(words=f"a list, {count}{item.words} each", read=read, json=json)


def range_of(item: Value, words: str) -> Value:
    """Return the rule of a pair of values, the second of which is not below the first."""

    def read(value: Any) -> list:
        smallest, largest = list_of(item, length=2).read(value)
        if smallest > largest:
            raise ValueError
        return [smallest, largest]

    return Value(words=f"[smallest, largest], {words}", read=read, json=list_of(item, length=2).json)


def mapping() -> Value:
    """Return the rule of a section whose keys are not checked here."""

    def read(value: Any) -> Mapping:
        if not isinstance(value, Mapping):
            raise ValueError
        return value

    return Value(words="a section of keys and values", read=read, json={"type": "object"})


def like(default: Any) -> Value:
    """Return the rule of a parameter of other packages that has a default and no annotation."""
    for types, rule in (((bool,), flag()), ((int, float), number())):
        if isinstance(default, types):
            # Lists and sections pass: 64 may stand for [64, 64].
            json = {"type": [rule.json["type"], "array", "object"]}
            return replace(rule, read=_or_no_scalar(rule.read), json=json, nullable=True)
    return anything()


def _or_no_scalar(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: read(value) if isinstance(value, str | int | float) else value


def _read_flag(value: Any) -> bool:
    words = {"true": True, "false": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    if not isinstance(value, bool):
        raise ValueError
    return value


def _read_text(value: Any) -> str:
    # YAML takes a name like 2024 or 2024-01-31 for a number or a date.
    is_name = isinstance(value, str | int | datetime.date) and not isinstance(value, bool)
    if not is_name or str(value) == "":
        raise ValueError
    return str(value)


def _read_number(value: Any) -> int | float:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def _within(value: float, above: float, least: float, below: float, most: float) -> float:
    if not (above < value < below and least <= value <= most):
        raise ValueError
    return value


def _json_range(kind: str, above: float, least: float, below: float, most: float) -> dict[str, Any]:
    limits = {
        "exclusiveMinimum": above,
        "minimum": least,
        "exclusiveMaximum": below,
        "maximum": most,
    }
    return {"type": kind, **{word: limit for word, limit in limits.items() if math.isfinite(limit)}}


def _range_words(above: float, least: float, below: float, most: float) -> str:
    limits = {"above": above, "of at least": least, "below": below, "at most": most}
    stated = [f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit)]
    return f" {' and '.join(stated)}" if stated else ""
