"""Markdown tables of all option keys, for documentation."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY

from moeisr_plugin.options.json_schema import json_schema
from moeisr_plugin.options.parse import DELETE
from moeisr_plugin.options.rules import below

REGISTRIES = (ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY)


def option_tables() -> str:
    """Return a table for each section and for each class of this package, in Markdown."""
    sections: dict[str, Mapping[str, Any]] = {}
    for title, properties in _sections("", json_schema()["then"]):
        sections.setdefault(title, properties)  # of a class that several keys name, the outermost counts
    return "\n".join(_table(title, properties) for title, properties in sections.items())


def _sections(path: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield titles and keys of a section, of the types that it can have, and of the sections in it.

    A section with types is only yielded if it has keys of its own beside `type`.
    """
    types = {case["if"]["properties"]["type"]["const"]: case["then"] for case in schema.get("allOf", [])}
    properties = _properties(schema)
    if properties.keys() - ({"type"} if types else set()):
        yield path or "top level", properties
    for key, part in properties.items():
        yield from _sections(below(path, key), part)
    cases = [(f"type {name}", types[name]) for name in sorted(types.keys() & _own_types())]
    for title, case in cases:
        yield title, _properties(case)
    for title, case in cases:
        yield from _sections(title, case)
    for part in schema.get("patternProperties", {}).values():
        yield from _sections(path, part)
    if isinstance(other := schema.get("additionalProperties"), Mapping):
        yield from _sections(below(path, "NAME"), other)


def _properties(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {key: part for key, part in schema.get("properties", {}).items() if key != DELETE}


def _own_types() -> set[str]:
    return {
        name
        for registry in REGISTRIES
        for name, target in registry
        if target.__module__.startswith("moeisr_plugin.")
    }


def _table(title: str, properties: Mapping[str, Any]) -> str:
    rows = [f"| `{key}` | {part['description']} | {_default(part)} |" for key, part in properties.items()]
    return "\n".join([f"### {title}", "", "| Key | Value | Default |", "|:--|:--|:--|", *rows, ""])


def _default(schema: Mapping[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
