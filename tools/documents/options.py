"""Tables of the keys of option files, from the rules by which they are checked."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

import moeisr_plugin  # noqa: F401  registers the classes with the toolbox
from documents.sources import ROOT, Sources, table


def tables(sources: Sources) -> str:
    """Return a table per section of an option file."""
    from basicsr.utils.registry import LOSS_REGISTRY, METRIC_REGISTRY

    from moeisr_plugin.archs.registry import NETWORKS
    from moeisr_plugin.options import keys, schema

    meanings = yaml.safe_load((ROOT / "docs" / "options.yml").read_text(encoding="utf-8"))

    def section(heading: str, *names: str) -> str:
        rules: dict[str, Any] = {}
        known: dict[str, list[str]] = {}
        for name in names:
            rules |= _rules_of(keys, name)
            known |= meanings[name]
        return _section(heading, rules, known)

    parts = [section("Top level", "TOP"), section("`datasets.PHASE`, of any type", "LOADER")]
    for name, rules in keys.DATASETS.items():
        parts.append(_section(f"`datasets.PHASE`, `type: {name}`", rules, meanings["DATASETS"]))
    for name, network in sorted(NETWORKS.items()):
        if network.__module__.startswith("moeisr_plugin."):
            parts.append(_registered(f"`network_g`, `type: {name}`", network, schema.NETWORK))
    parts.append(section("`path`", "PATH", "PATH_OF_NETWORK"))
    parts.append(section("`train`", "SCHEDULE", "IMPLICIT_TRAIN"))
    for name in ("L1Loss", "BalanceLoss", "CostLoss"):
        parts.append(_registered(f"`train.NAME_opt`, `type: {name}`", LOSS_REGISTRY.get(name), schema.LOSS))
    parts.append(section("`val`", "VAL", "IMPLICIT_VAL"))
    for name in ("calculate_psnr_protocol", "calculate_ssim_protocol"):
        metric = METRIC_REGISTRY.get(name)
        parts.append(_registered(f"`val.metrics.NAME`, `type: {name}`", metric, schema.METRIC))
    parts += [section("`logger`", "LOGGER"), section("`dist_params`", "DIST")]
    return "\n\n".join(parts)


def _rules_of(keys: Any, name: str) -> dict[str, Any]:
    """Return a table of rules. Keys of a network carry its label."""
    rules = getattr(keys, name)
    return {f"{key}_g": rule for key, rule in rules.items()} if name == "PATH_OF_NETWORK" else dict(rules)


def _section(heading: str, rules: Mapping[str, Any], meanings: Mapping[str, list[str]]) -> str:
    """Return the table of a section whose meanings are in docs/options.yml."""
    from moeisr_plugin.options.rules import Unread

    rows = [["Key", "Value", "Default", "Meaning"]]
    for key, rule in rules.items():
        if isinstance(rule, Unread):
            continue
        default, meaning = meanings[key]
        rows.append([f"`{key}`", _words(rule), "required" if rule.required else default, meaning])
    return f"## {heading}\n\n{table(rows, 'llll')}"


def _registered(heading: str, target: Callable, registered: Any) -> str:
    """Return the table of a class or function, whose parameters are the keys."""
    from moeisr_plugin.options.signatures import parameter_rules

    rules = parameter_rules(target, registered.rules, registered.supplied)
    defaults = inspect.signature(target).parameters
    described = _arguments(target)
    rows = [["Key", "Value", "Default", "Meaning"]]
    for key, rule in {**registered.extra, **rules}.items():
        default = defaults[key].default if key in defaults else inspect.Parameter.empty
        shown = "" if default is inspect.Parameter.empty else f"`{_yaml(default)}`"
        rows.append(
            [f"`{key}`", _words(rule), "required" if rule.required else shown, described.get(key, "")]
        )
    return f"## {heading}\n\n{table(rows, 'llll')}"


def _arguments(target: Callable) -> dict[str, str]:
    """Return the descriptions of the arguments in a Google docstring."""
    text = inspect.getdoc(target) or ""
    _, _, rest = text.partition("Args:\n")
    block = rest.split("\n\n", 1)[0]
    found = re.findall(r"^ {4}(\w+)(?: \([^)]*\))?: (.+?)(?=^ {4}\w|\Z)", block, re.MULTILINE | re.DOTALL)
    return {name: " ".join(words.split()).replace("|", "\\|").replace("``", "`") for name, words in found}


def _words(rule: Any) -> str:
    words = f"{rule.words}, or empty" if rule.nullable else rule.words
    return words.replace("|", "\\|")


def _yaml(default: Any) -> str:
    if default is None:
        return "~"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (tuple, list)):
        return f"[{', '.join(map(_yaml, default))}]"
    return str(default)
