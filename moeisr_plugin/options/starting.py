"""Take the options of a network from the weights that it starts from (`network_g: {from: NAME_OR_FILE}`)."""

from collections.abc import Mapping
from typing import Any

from moeisr_plugin.archs.registry import UnknownNetworkError, find_network
from moeisr_plugin.checkpoints.network import (
    MODULES,
    located,
    missing_class,
    read_checkpoint,
    without_pretrained,
)

FROM = "from"


def with_network_from(opt: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in which `network_g.from` is replaced by the hyper-parameters of these weights.

    Other keys of `network_g` replace single hyper-parameters. The weights also become
    `path.pretrain_network_g`, unless that is given.

    Raises:
        ValueError: the weights cannot be read, or do not describe their network; one line.
    """
    network = opt.get("network_g")
    if not isinstance(network, Mapping) or FROM not in network:
        return dict(opt)
    weights = network[FROM]
    if not isinstance(weights, str):
        raise ValueError(f"network_g.{FROM}: is {weights!r}; give a file, or the name of a bundled network")
    try:
        checkpoint = read_checkpoint(located(weights))
    except ValueError as error:
        raise ValueError(f"network_g.{FROM}: {error}") from error
    stored = checkpoint.get("network_g")
    if not isinstance(stored, Mapping):
        raise ValueError(f"network_g.{FROM}: {weights} does not describe its network; give all its options")
    _require_classes(checkpoint, weights)
    given = {key: value for key, value in network.items() if key != FROM}
    path = opt.get("path") or {}
    if isinstance(path, Mapping) and not path.get("pretrain_network_g"):
        path = {**path, "pretrain_network_g": weights}
    return {**opt, "network_g": {**without_pretrained(stored), **given}, "path": path}


def _require_classes(checkpoint: Mapping[str, Any], weights: str) -> None:
    """Raise ValueError if a network of another package, which the checkpoint names, is not registered."""
    modules = checkpoint.get(MODULES)
    for name in modules if isinstance(modules, Mapping) else ():
        try:
            find_network(str(name))
        except UnknownNetworkError as error:
            raise ValueError(f"network_g.{FROM}: {weights}: {missing_class(error, modules)}") from error
