"""Weights that carry all it takes to rebuild their network.

A checkpoint is what the toolbox saves, ``{'params': ..., 'params_ema': ...}``, plus ``network_g``: the
network's registered type and hyper-parameters; and ``upcycled_from`` where the network was made of another.
Its suffix says whether torch saves it or safetensors do.
"""

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from basicsr.archs import build_network
from torch import Tensor, nn

from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.archs.pretrained import check_fit
from moeisr_plugin.bundled import bundled_weights
from moeisr_plugin.tensor_files import CheckpointError, read_tensor_file
from moeisr_plugin.tensor_files import write_tensor_file as save_checkpoint

__all__ = [
    "ORIGIN",
    "CheckpointError",
    "as_checkpoint",
    "build_without_pretrained",
    "is_published",
    "load_weights",
    "located",
    "network_from",
    "network_of",
    "read_checkpoint",
    "save_checkpoint",
]

ORIGIN = "upcycled_from"
"""The entry of an upcycled network: its source, and how each expert began."""

UNSUSPICIOUS_SIZE = 512
"""Of a network: a width or a depth that costs little even if no weight of a checkpoint bears it out."""


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of a training with the plugin.

    Raises:
        CheckpointError: if there is no such file, or it is not a checkpoint.
    """
    return as_checkpoint(read_tensor_file(path), path)


def as_checkpoint(content: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a file, if it is a checkpoint; raises as `read_checkpoint` does."""
    if isinstance(content, dict) and isinstance(content.get("params"), dict):
        return content
    if is_published(content):
        raise CheckpointError(f"{path}: saved by the published LIIF or LTE; run moeisr convert on it first")
    raise CheckpointError(f"{path}: holds no 'params'; a checkpoint of a training has them")


def is_published(content: Any) -> bool:
    """Whether a file's content has the form in which the published code of LIIF and LTE saves."""
    model = content.get("model") if isinstance(content, Mapping) else None
    return isinstance(model, Mapping) and isinstance(model.get("sd"), Mapping)


def network_from(weights: str | os.PathLike[str]) -> ImplicitSR:
    """The network of weights as :func:`located` finds them and :func:`network_of` reads them."""
    path = located(weights)
    return network_of(read_checkpoint(path), path)


def located(weights: str | os.PathLike[str]) -> Path:
    """The file of weights that are named by a path, or by the name of a network of the package.

    Raises:
        CheckpointError: there is neither; a file goes before a network.
    """
    path, bundled = Path(weights), bundled_weights()
    if path.exists():
        return path
    if str(weights) in bundled:
        return bundled[str(weights)]
    known = f"with the package come {', '.join(bundled)}" if bundled else "none come with this version"
    raise CheckpointError(f"{weights}: no such file of weights; {known}")


def network_of(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> ImplicitSR:
    """The network of a checkpoint, rebuilt from the weights alone, in evaluation mode.

    The averaged weights (``params_ema``) are used where there are any.

    Args:
        checkpoint: what `read_checkpoint` gives.
        path: where it comes from, for messages.

    Raises:
        CheckpointError: if the checkpoint does not say what network it is of, or does not fit it.
    """
    hyper_parameters = checkpoint.get("network_g")
    if not isinstance(hyper_parameters, dict):
        raise CheckpointError(f"{path}: does not say what network it is of ('network_g' is missing)")
    weights = checkpoint.get("params_ema") or checkpoint["params"]
    try:
        _check_sizes(hyper_parameters, weights)
        net = build_without_pretrained(hyper_parameters)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise CheckpointError(f"{path}: the network it is of cannot be built ({reason})") from error
    if not isinstance(net, ImplicitSR):
        raise CheckpointError(f"{path}: is of {type(net).__name__}, which is no network of this plugin")
    load_weights(net, weights, path)
    return net.eval()


def _check_sizes(hyper_parameters: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Raises `ValueError` for widths and depths that no weight bears out, before they fill the memory."""
    shapes = [tuple(weight.shape) for weight in weights.values() if isinstance(weight, Tensor)]
    largest = max(UNSUSPICIOUS_SIZE, len(shapes), *itertools.chain(*shapes))
    for key, size in _integers("network_g", hyper_parameters):
        if size > largest:
            raise ValueError(f"{key} is {size}, and no weight is so large")


def _integers(key: str, value: Any) -> Iterator[tuple[str, int]]:
    """All whole numbers within nested options, each with the path of its key."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _integers(f"{key}.{name}", item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _integers(key, item)
    elif isinstance(value, int):
        yield key, value


def load_weights(net: nn.Module, weights: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Load weights into a network that they must fit exactly.

    Raises:
        CheckpointError: naming the first keys that are missing, unknown or of another shape.
    """
    check_fit(weights, net.state_dict(), path, type(net).__name__)
    net.load_state_dict(weights)


def build_without_pretrained(hyper_parameters: Mapping[str, Any]) -> Any:
    """Build a network without reading the file that its encoder is to start from."""
    encoder = {key: value for key, value in hyper_parameters["encoder"].items() if key != "pretrained"}
    return build_network({**hyper_parameters, "encoder": encoder})
