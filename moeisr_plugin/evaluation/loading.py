"""Load networks to evaluate, and describe their files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.checkpoints.network import located, network_from
from moeisr_plugin.evaluation.results import BICUBIC, ORIGINAL
from moeisr_plugin.utils.hashing import sha256_of


def load_networks(
    weights: Sequence[str | Path],
) -> tuple[dict[str, ImplicitNetwork], dict[str, dict[str, Any]]]:
    """Load networks onto the CPU.

    Args:
        weights: checkpoints, or names of bundled networks.

    Returns:
        The networks and their descriptions, by distinct name.

    Raises:
        ValueError: weights cannot be used, or are given twice.
    """
    files = [located(given) for given in weights]
    networks = dict(zip(distinct_names(files), map(network_from, files), strict=True))
    descriptions = {
        name: {"file": path.name, "sha256": sha256_of(path), **_description(net)}
        for path, (name, net) in zip(files, networks.items(), strict=True)
    }
    return networks, descriptions


def distinct_names(weights: Sequence[Path]) -> list[str]:
    """Return a distinct name for each file of weights.

    A name is the stem of the file, prefixed with as many parent folders as needed.

    Raises:
        ValueError: a file is given twice.
    """
    if not weights:
        return []
    whole = [path.resolve() for path in weights]
    for paths in ([path.with_suffix("") for path in whole], whole):
        for depth in range(1, max(len(path.parts) for path in paths) + 1):
            names = ["_".join(path.parts[-depth:]) for path in paths]
            if len({BICUBIC, ORIGINAL, *names}) == 2 + len(names):
                return names
    raise ValueError(f"{max(weights, key=list(weights).count)}: given twice; give each file of weights once")


def _description(net: ImplicitNetwork) -> dict[str, Any]:
    return {
        "type": net.hyper_parameters["type"],
        "encoder": type(net.encoder).__name__,
        "network_g": net.hyper_parameters,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
    }
