"""Weights of a full network for one whose tail is cut away."""

import pickle
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

ENTRIES = ("params_ema", "params", "state_dict")
DERIVED = ("attn_mask", "relative_position_index")  # SwinIR's buffers follow from its options


def read_weights(path: str, param_key: str | None = None) -> dict[str, Tensor]:
    """Reads named tensors from a checkpoint, without running any code it may contain.

    Args:
        path: The file.
        param_key: The entry to read; None takes the first there is of `ENTRIES`, else the checkpoint itself.

    Returns:
        The tensors by name, on the CPU, without the 'module.' that data-parallel training puts in front.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no such checkpoint, or lacks the entry.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"pretrained: there is no file {path}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(f"{path}: truncated, or not a checkpoint of tensors alone") from error
    entries = list(checkpoint) if isinstance(checkpoint, Mapping) else []
    key = param_key if param_key is not None else next((key for key in ENTRIES if key in entries), None)
    if key is not None and key not in entries:
        raise ValueError(f"{path}: no entry {key!r}; param_key can be {enumerate_names(entries)}")
    weights = checkpoint if key is None else checkpoint[key]
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{path}: no named tensors there; name their entry by param_key")
    return {name.removeprefix("module."): value for name, value in weights.items()}


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
        ValueError: If a weight is missing, has no place (a deeper network's) or another shape.
    """
    wanted = {name: value for name, value in net.state_dict().items() if not name.endswith(DERIVED)}
    given = {
        name: value
        for name, value in weights.items()
        if name.partition(".")[0] not in tail and not name.endswith(DERIVED)
    }
    misfits = {
        "lacks": [name for name in wanted if name not in given],
        "has, beyond this network,": [name for name in given if name not in wanted],
        "has other shapes for": [
            f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in wanted
            if name in given and given[name].shape != wanted[name].shape
        ],
    }
    for misfit, names in misfits.items():
        if names:
            raise ValueError(f"{source} {misfit} {enumerate_names(names)}; compare arch and params")
    net.load_state_dict(given, strict=False)


def enumerate_names(names: list[str]) -> str:
    """Joins the first names, and says how many there are beyond."""
    return ", ".join(map(str, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
