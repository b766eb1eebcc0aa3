"""Take the options of a network from the weights that it starts from (`network_g: {from: NAME_OR_FILE}`)."""

from collections.abc import Mapping
from typing import Any

from moeisr_plugin.checkpoints.network import located, read_checkpoint, without_pretrained

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
        stored = read_checkpoint(located(weights)).get("network_g")
    except ValueError as error:
        raise ValueError(f"network_g.{FROM}: {error}") from error
    if not isinstance(stored, Mapping):
        raise ValueError(f"network_g.{FROM}: {weights} does not describe its network; give all its options")
    given = {key: value for key, value in network.items() if key != FROM}
    path = opt.get("path") or {}
    if isinstance(path, Mapping) and not path.get("pretrain_network_g"):
        path = {**path, "pretrain_network_g": weights}
    return {**opt, "network_g": {**without_pretrained(stored), **given}, "path": path}
