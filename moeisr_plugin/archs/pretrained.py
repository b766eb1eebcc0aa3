"""Weights for a network: reading them, and seeing whether they fit, also when its tail is cut away."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from moeisr_plugin.utils.tensor_files import CheckpointError, read_tensor_file

ENTRIES = ("params_ema", "params", "state_dict")
DERIVED = ("attn_mask", "relative_position_index")  # SwinIR's buffers follow from its options


def read_weights(
    path: str, param_key: str | None = None, *, fallback: str | None = None
) -> dict[str, Tensor]:
    """Reads named tensors from a checkpoint, of torch or safetensors, without running code it may contain.

    Args:
        path: The file.
        param_key: The entry to read; None takes the first there is of `ENTRIES`, else the checkpoint itself.
        fallback: The entry to read where there is no `param_key`.

    Returns:
        The tensors by name, on the CPU, without the 'module.' that data-parallel training puts in front.

    Raises:
        CheckpointError: If there is no such file, or it is no such checkpoint, or lacks the entry.
    """
    checkpoint = read_tensor_file(path)
    entries = list(checkpoint) if isinstance(checkpoint, Mapping) else []
    key = param_key if param_key is not None else next((key for key in ENTRIES if key in entries), None)
    if key not in entries and fallback in entries:
        key = fallback
    if key is not None and key not in entries:
        raise CheckpointError(f"{path}: no entry {key!r}; param_key can be {enumerate_names(entries)}")
    weights = checkpoint if key is None else checkpoint[key]
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: no named tensors there; name their entry by param_key")
    return {str(name).removeprefix("module."): value for name, value in weights.items()}


def check_fit(weights: Mapping[str, Any], wanted: Mapping[str, Tensor], source: object, network: str) -> None:
    """Compares names and shapes of weights with those that a network wants.

    Args:
        weights: What is given, by name.
        wanted: What the network holds.
        source: Where the weights come from, for the message.
        network: What the network is called, likewise.

    Raises:
        CheckpointError: Naming the first weights that are missing, unknown, or of another shape, and how many
            more there are of each.
    """
    misfits = {
        "missing": [name for name in wanted if name not in weights],
        "unknown": [name for name in weights if name not in wanted],
        "of another shape": [
            f"{name} {_shape(weights[name])} instead of {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in weights and _shape(weights[name]) != str(tuple(value.shape))
        ],
    }
    told = [f"{misfit}: {enumerate_names(names)}" for misfit, names in misfits.items() if names]
    if told:
        raise CheckpointError(f"{source}: does not fit {network}; {'; '.join(told)}")


def load_cut_network(
    net: nn.Module, weights: Mapping[str, Tensor], tail: Collection[str], source: str
) -> None:
    """Sets every parameter of a network whose tail is cut away from the weights of the full one.

    Args:
        net: The network, without its tail.
        weights: Tensors by the full network's names.
        tail: The top-level modules that were cut; their weights are left out.
        source: Where the weights come from, for messages.

    Raises:
        CheckpointError: If a weight is missing, has no place (a deeper network's) or another shape.
    """
    wanted = {name: value for name, value in net.state_dict().items() if not name.endswith(DERIVED)}
    given = {
        name: value
        for name, value in weights.items()
        if name.partition(".")[0] not in tail and not name.endswith(DERIVED)
    }
    check_fit(given, wanted, source, f"{type(net).__name__} with these params")
    net.load_state_dict(given, strict=False)


def enumerate_names(names: list[str]) -> str:
    """Joins the first names, and says how many there are beyond."""
    return ", ".join(map(str, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _shape(value: Any) -> str:
    """The shape of a tensor whose numbers can be copied into a parameter; of anything else, what it is."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        return f"{value.dtype} {value.layout}".replace("torch.", "")
    return str(tuple(value.shape))
