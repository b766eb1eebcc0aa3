"""Read checkpoints and rebuild their networks.

A checkpoint is the content that the toolbox saves, ``{'params': ..., 'params_ema': ...}``, plus
``network_g``: the registered type and hyper-parameters of the network, and the entries of :mod:`.provenance`.
``modules`` holds the modules of classes of other packages; messages name them, and nothing imports them. The
suffix selects the format: torch or safetensors.
"""

import itertools
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.pretrained import check_fit
from moeisr_plugin.archs.registry import UnknownNetworkError, build_network, modules_of
from moeisr_plugin.checkpoints.building import bounded_by
from moeisr_plugin.checkpoints.bundled import bundled_weights
from moeisr_plugin.checkpoints.hyper_parameters import check_hyper_parameters
from moeisr_plugin.utils.shortage import memory_shortage
from moeisr_plugin.utils.tensor_files import AVERAGED, CheckpointError, read_tensor_file, write_tensor_file

__all__ = [
    "CheckpointError",
    "as_checkpoint",
    "build_without_pretrained",
    "default_entry",
    "is_published",
    "load_weights",
    "located",
    "network_from",
    "network_of",
    "read_checkpoint",
    "save_checkpoint",
    "without_pretrained",
]

_LOG = logging.getLogger("moeisr_plugin")

MODULES = "modules"
"""Entry with the modules of classes of other packages, by the registered name of the class."""

UNCHECKED_SIZE = 512
"""Widths and depths up to this size are accepted without a weight that confirms them."""


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of this package.

    Raises:
        CheckpointError: the file does not exist, or is not a checkpoint.
    """
    return as_checkpoint(read_tensor_file(path), path)


def as_checkpoint(content: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a file if it is a checkpoint. Raise CheckpointError otherwise."""
    if isinstance(content, dict) and isinstance(content.get("params"), dict):
        return content
    if is_published(content):
        raise CheckpointError(f"{path}: saved by the published LIIF or LTE; run moeisr convert on it first")
    raise CheckpointError(f"{path}: has no 'params'; give a checkpoint of a training")


def save_checkpoint(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically, with the modules of the classes of other packages that it needs.

    Raises:
        CheckpointError: the file cannot be written.
    """
    modules = modules_of(content.get("network_g") or {})
    write_tensor_file(path, {**content, MODULES: modules} if modules else content)


def is_published(content: Any) -> bool:
    """Return whether the content was saved by the published code of LIIF or LTE."""
    model = content.get("model") if isinstance(content, Mapping) else None
    return isinstance(model, Mapping) and isinstance(model.get("sd"), Mapping)


def network_from(weights: str | os.PathLike[str]) -> ImplicitNetwork:
    """Load a network from a checkpoint or by the name of a bundled network. The log states averaged weights.

    See :func:`located` and :func:`network_of` for arguments and errors.
    """
    path = located(weights)
    checkpoint = read_checkpoint(path)
    net = network_of(checkpoint, path)
    if checkpoint.get(AVERAGED):
        _LOG.info(f"{path}: averaged weights ({AVERAGED})")
    return net


def default_entry(path: str | os.PathLike[str]) -> str | None:
    """Return the entry of a file that is read unless another is named: averaged weights where there are some.

    None for a file that holds the weights without an entry.

    Raises:
        CheckpointError: the file does not exist, or cannot be read.
    """
    content = read_tensor_file(path)
    content = content if isinstance(content, Mapping) else {}
    return next((entry for entry in (AVERAGED, "params") if content.get(entry)), None)


def located(weights: str | os.PathLike[str]) -> Path:
    """Return the file of weights given by a path or by the name of a bundled network.

    A file takes precedence over a bundled network of the same name. A leading `~` is the home folder.

    Raises:
        CheckpointError: there is no such file and no such network.
    """
    path, bundled = Path(weights).expanduser(), bundled_weights()
    if path.exists():
        return path
    if str(weights) in bundled:
        return bundled[str(weights)]
    known = f"bundled networks: {', '.join(bundled)}" if bundled else "this version bundles no networks"
    raise CheckpointError(f"{weights}: no such file of weights; {known}")


def network_of(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> ImplicitNetwork:
    """Build the network of a checkpoint in evaluation mode.

    Averaged weights (``params_ema``) take precedence over ``params``.

    Args:
        checkpoint: result of `read_checkpoint`.
        path: path of the checkpoint, for messages.

    Raises:
        CheckpointError: ``network_g`` is missing or wrong, or the weights do not fit the network.
    """
    hyper_parameters = checkpoint.get("network_g")
    if not isinstance(hyper_parameters, dict):
        raise CheckpointError(f"{path}: does not describe its network ('network_g' is missing)")
    weights = checkpoint.get(AVERAGED) or checkpoint["params"]
    try:
        check_hyper_parameters(hyper_parameters)
        _check_sizes(hyper_parameters, weights)
        with bounded_by(weights), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes of 0, which `load_weights` refuses
            net = build_without_pretrained(hyper_parameters)
    except UnknownNetworkError as error:
        raise CheckpointError(f"{path}: {missing_class(error, checkpoint.get(MODULES))}") from error
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        if memory_shortage(error):
            raise
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise CheckpointError(f"{path}: its network cannot be built ({reason})") from error
    if not isinstance(net, ImplicitNetwork):
        raise CheckpointError(f"{path}: its network is {type(net).__name__}, which is not of this plugin")
    load_weights(net, weights, path)
    return net.eval()


def missing_class(error: UnknownNetworkError, modules: Any) -> str:
    """Return what a checkpoint lacks, and how to give it. The file's modules are untrusted text."""
    module = modules.get(error.network) if isinstance(modules, Mapping) else None
    if isinstance(module, str) and all(part.isidentifier() for part in module.split(".")):
        return (
            f"needs the network {error.network} of the module {module}; give the module, or its file, by "
            f"--import {module}"
        )
    return str(error)


def _check_sizes(hyper_parameters: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Raise `ValueError` for widths and depths larger than any weight, before they exhaust the memory."""
    shapes = [tuple(weight.shape) for weight in weights.values() if isinstance(weight, Tensor)]
    largest = max(UNCHECKED_SIZE, len(shapes), *itertools.chain(*shapes))
    for key, size in _integers("network_g", hyper_parameters):
        if size > largest:
            raise ValueError(f"{key} is {size}, larger than any weight")


def _integers(key: str, value: Any) -> Iterator[tuple[str, int]]:
    """Yield all integers in nested options, each with the path of its key."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _integers(f"{key}.{name}", item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _integers(key, item)
    elif isinstance(value, int):
        yield key, value


def load_weights(net: nn.Module, weights: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Load weights into a network. Names and shapes must match exactly.

    Raises:
        CheckpointError: keys are missing, unknown or of another shape. The message names the first ones.
    """
    check_fit(weights, net.state_dict(), path, type(net).__name__)
    net.load_state_dict(weights)


def build_without_pretrained(hyper_parameters: Mapping[str, Any]) -> Any:
    """Build a network without loading the pretrained weights of its encoder."""
    return build_network(without_pretrained(hyper_parameters))


def without_pretrained(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a network without the pretrained weights of its encoder."""
    encoder = hyper_parameters.get("encoder")
    if not isinstance(encoder, Mapping):  # left to its default in a network of another package
        return dict(hyper_parameters)
    return {**hyper_parameters, "encoder": {key: encoder[key] for key in encoder if key != "pretrained"}}
