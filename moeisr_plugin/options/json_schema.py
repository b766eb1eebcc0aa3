"""The JSON schema of option files, for completion and checks in editors."""

from collections.abc import Iterator, Mapping
from typing import Any

from moeisr_plugin.options.parse import BASE, DELETE
from moeisr_plugin.options.schema import IMPLICIT_MODEL, schema
from moeisr_plugin.options.starting import FROM


def json_schema() -> dict[str, Any]:
    """Return the schema of option files of ImplicitSRModel, for trainings and tests.

    Files of other models pass unchecked. No key is required, as a base may hold it. Numbers given as texts
    fail, although `--check` accepts them. Only `--check` finds contradictions and missing files.
    """
    rules = schema({"model_type": IMPLICIT_MODEL}, is_train=True).json_schema()
    for section in _closed_sections(rules):
        section["properties"] = {**section.get("properties", {}), DELETE: {"type": "boolean"}}
    network = rules["properties"]["network_g"]
    for section in (network, *(case["then"] for case in network["allOf"])):
        section["properties"][FROM] = {
            "description": "weights to start from: a file, or the name of a bundled network",
            "type": "string",
            "minLength": 1,
        }
    rules["properties"][BASE] = {
        "description": "an option file or a list of them, relative to this file",
        "type": ["string", "array"],
        "items": {"type": "string"},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Options of {IMPLICIT_MODEL}",
        "type": "object",
        "properties": {"model_type": rules["properties"]["model_type"]},
        "if": {"properties": {"model_type": {"const": IMPLICIT_MODEL}}},
        "then": rules,
    }


def _closed_sections(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the schemas of all sections that allow no other keys, from the innermost."""
    if isinstance(schema, Mapping):
        for part in list(schema.values()):
            yield from _closed_sections(part)
        if schema.get("additionalProperties", True) is not True and isinstance(schema, dict):
            yield schema
    elif isinstance(schema, list):
        for part in schema:
            yield from _closed_sections(part)
