"""The JSON schema of option files, for completion and checks in editors."""

from collections.abc import Iterator, Mapping
from typing import Any

from moeisr_plugin.options.parse import BASE, DELETE
from moeisr_plugin.options.schema import IMPLICIT_GAN, IMPLICIT_MODEL, IMPLICIT_MODELS, schema
from moeisr_plugin.options.starting import FROM


def json_schema() -> dict[str, Any]:
    """Return the schema of option files of ImplicitSRModel and ImplicitSRGANModel, for trainings and tests.

    Files of other models pass unchecked. No key is required, as a base may hold it. Numbers given as texts
    fail, although `--check` accepts them. Only `--check` finds contradictions and missing files.
    """
    rules = schema({"model_type": IMPLICIT_MODEL}, is_train=True).json_schema()
    _add_adversarial(rules, schema({"model_type": IMPLICIT_GAN}, is_train=True).json_schema())
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
        "title": f"Options of {' and '.join(IMPLICIT_MODELS)}",
        "type": "object",
        "properties": {"model_type": rules["properties"]["model_type"]},
        "if": {"properties": {"model_type": {"enum": list(IMPLICIT_MODELS)}}},
        "then": rules,
    }


def _add_adversarial(rules: dict[str, Any], adversarial: Mapping[str, Any]) -> None:
    """Add the keys that only the model with a discriminator has to the sections of the other model."""
    for section in ("train", "path"):
        _add_adversarial_keys(rules["properties"][section], adversarial["properties"][section])
    _add_adversarial_keys(rules, adversarial)


def _add_adversarial_keys(section: dict[str, Any], adversarial: Mapping[str, Any]) -> None:
    for key, part in adversarial["properties"].items():
        if section["properties"].get(key, {"not": {}}).get("not") == {}:
            words = part["description"].removesuffix("; required")
            section["properties"][key] = {**part, "description": f"{words}; with {IMPLICIT_GAN}"}


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
