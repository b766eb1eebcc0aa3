"""Read pretrained weights and check that they fit a network, or a network without its tail."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from moeisr_plugin.utils.tensor_files import CheckpointError, read_tensor_file

ENTRIES = ("params_ema", "params", "state_dict")
DERIVED = ("attn_mask", "relative_position_index")  # buffers of SwinIR, computed from its options


def read_weights(
    path: str, param_key: str | None = None, *, fallback: str | None = None
) -> dict[str, Tensor]:
    """Read named tensors from a torch or safetensors checkpoint, without executing pickled code.

    Args:
        path: path of the file.
        param_key: entry to read. If None, read the first of `ENTRIES` that exists and is not empty; if none
            exists, read the checkpoint itself.
        fallback: entry to read if `param_key` does not exist.

    Returns:
        The tensors by name, on the CPU. The prefix 'module.' of data-parallel training is removed.

    Raises:
        CheckpointError: If the file is missing or unreadable, lacks the entry, or holds no named tensors.
    """
    checkpoint = read_tensor_file(path)
    entries = list(checkpoint) if isinstance(checkpoint, Mapping) else []
    known = sorted((key for key in ENTRIES if key in entries), key=lambda key: _is_empty(checkpoint[key]))
    key = param_key if param_key is not None else next(iter(known), None)
    if key not in entries and fallback in entries:
        key = fallback
    if key is not None and key not in entries:
        raise CheckpointError(
            f"{path}: no entry {key!r}; param_key can be {enumerate_names(_of_tensors(checkpoint))}"
        )
    weights = checkpoint if key is None else checkpoint[key]
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: holds no named tensors; name their entry by param_key")
    return {str(name).removeprefix("module."): value for name, value in weights.items()}


def check_fit(weights: Mapping[str, Any], wanted: Mapping[str, Tensor], source: object, network: str) -> None:
    """Check that weights have the names and shapes that a network expects.

    Args:
        weights: the weights by name.
        wanted: the state dict of the network.
        source: origin of the weights, for the message.
        network: name of the network, for the message.

    Raises:
        CheckpointError: If weights are missing, unknown, or of another shape. The message names the first few
            of each kind and counts the others.
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
    problems = [f"{misfit}: {enumerate_names(names)}" for misfit, names in misfits.items() if names]
    if problems:
        raise CheckpointError(f"{source}: does not fit {network}; {'; '.join(problems)}")


def load_cut_network(
    net: nn.Module, weights: Mapping[str, Tensor], tail: Collection[str], source: str
) -> None:
    """Load the weights of a full network into the same network without its tail.

    Args:
        net: the network without its tail.
        weights: weights of the full network by name.
        tail: names of the removed top-level modules. Their weights are ignored.
        source: origin of the weights, for messages.

    Raises:
        CheckpointError: If a weight is missing, unknown (for example of a deeper network), or of another
            shape.
    """
    wanted = {name: value for name, value in net.state_dict().items() if not name.endswith(DERIVED)}
    given = {
        name: value
        for name, value in weights.items()
        if name.partition(".")[0] not in tail and not name.endswith(DERIVED)
    }
    check_fit(given, wanted, source, f"{type(net).__name__} with these params")
    net.load_state_dict(given, strict=False)


def _is_empty(entry: Any) -> bool:
    return entry is None or (isinstance(entry, Mapping) and not entry)


def _of_tensors(checkpoint: Any) -> list[str]:
    """Return the entries that hold named tensors, or all entries if none does."""
    entries = checkpoint if isinstance(checkpoint, Mapping) else {}
    of_tensors = [
        str(key)
        for key, entry in entries.items()
        if isinstance(entry, Mapping) and any(isinstance(value, Tensor) for value in entry.values())
    ]
    return of_tensors or [str(key) for key in entries]


def enumerate_names(names: list[str]) -> str:
    """Join the first four names and state the number of the others."""
    return ", ".join(map(str, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _shape(value: Any) -> str:
    """Return the shape of a dense real tensor. For any other value, describe its type."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        return f"{value.dtype} {value.layout}".replace("torch.", "")
    return str(tuple(value.shape))
