"""State dicts that spandrel passes to an architecture, and the hyper-parameters that they carry.

Spandrel passes on the tensors of a file and drops everything else. `described` adds the hyper-parameters as
a tensor, so that they stay with the weights. Other state dicts are inferred by :mod:`.inference`.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from moeisr_plugin.checkpoints.network import located, network_of, read_checkpoint
from moeisr_plugin.spandrel.inference import inferred
from moeisr_plugin.utils.tensor_files import AVERAGED, write_tensor_file

DESCRIPTION = "network_g"
"""Name of the tensor with the hyper-parameters, as the bytes of their JSON."""

_AVERAGED = f"{AVERAGED}."


def save(weights: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Write a file that spandrel loads with the exact hyper-parameters of a network, whatever its encoder.

    Args:
        weights: a checkpoint, or the name of a bundled network.
        path: the file to write, .safetensors or .pth.

    Raises:
        CheckpointError: the weights cannot be used, or the file cannot be written.
    """
    write_tensor_file(path, {"params": described(weights)})


def described(weights: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint or of a bundled network, with their hyper-parameters.

    Raises:
        CheckpointError: the weights cannot be used.
    """
    path = located(weights)
    net = network_of(read_checkpoint(path), path)
    text = json.dumps(net.hyper_parameters).encode()
    # Spandrel's safe unpickler refuses tensors of bytes.
    return {**net.state_dict(), DESCRIPTION: torch.tensor(list(text), dtype=torch.int32)}


def is_known(state_dict: Mapping[str, Any]) -> bool:
    """Return whether a state dict is that of a network of this package."""
    weights = _weights(state_dict)
    if isinstance(weights.get(DESCRIPTION), Tensor):
        return True
    return "experts.0.layers.0.weight" in weights and any(
        str(name).startswith("encoder.") for name in weights
    )


def as_checkpoint(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint with the weights and the hyper-parameters of a state dict.

    Raises:
        ValueError: the hyper-parameters cannot be read or inferred; one line.
    """
    weights = _weights(state_dict)
    description = weights.pop(DESCRIPTION, None)
    if description is None:
        return {"params": weights, "network_g": inferred(weights)}
    try:
        return {"params": weights, "network_g": json.loads(bytes(description.tolist()))}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"its hyper-parameters cannot be read ({error}); write the file anew") from error


def _weights(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the averaged weights where there are some, which safetensors stores beside the others."""
    averaged = {
        name.removeprefix(_AVERAGED): value
        for name, value in state_dict.items()
        if str(name).startswith(_AVERAGED)
    }
    return averaged or dict(state_dict)
