"""Weights that carry all it takes to rebuild their network.

A checkpoint is what the toolbox saves, ``{'params': ..., 'params_ema': ...}``, plus ``network_g``: the
network's registered type and hyper-parameters.
"""

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
from basicsr.archs import build_network
from torch import nn

from moeisr_plugin.archs.implicit_sr import ImplicitSR


class CheckpointError(ValueError):
    """A file of weights that cannot be used; the message names the file and the remedy."""


def save_checkpoint(path: str | os.PathLike[str], checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint so that the path holds either the whole of it or what it held before."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint, on the CPU, executing nothing it may contain.

    Raises:
        CheckpointError: if there is no such file, or it is not a checkpoint.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason})") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("params"), dict):
        raise CheckpointError(f"{path}: holds no 'params'; a checkpoint of a training has them")
    return checkpoint


def network_from(path: str | os.PathLike[str]) -> ImplicitSR:
    """The network of a checkpoint, rebuilt from the weights alone, in evaluation mode.

    The averaged weights (``params_ema``) are used where there are any.

    Raises:
        CheckpointError: if the checkpoint does not say what network it is of, or does not fit it.
    """
    checkpoint = read_checkpoint(path)
    hyper_parameters = checkpoint.get("network_g")
    if not isinstance(hyper_parameters, dict):
        raise CheckpointError(f"{path}: does not say what network it is of ('network_g' is missing)")
    net = build_network(_without_pretrained(hyper_parameters))
    load_weights(net, checkpoint.get("params_ema", checkpoint["params"]), path)
    return net.eval()


def load_weights(net: nn.Module, weights: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Load weights into a network that they must fit exactly.

    Raises:
        CheckpointError: naming the first keys that are missing, unknown or of another shape.
    """
    own = net.state_dict()
    faults = [f"{key} is missing" for key in own if key not in weights]
    faults += [f"{key} is unknown" for key in weights if key not in own]
    faults += [
        f"{key} is {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise CheckpointError(f"{path}: does not fit {type(net).__name__}: {'; '.join(faults[:3])}{more}")
    net.load_state_dict(weights)


def _without_pretrained(hyper_parameters: dict[str, Any]) -> dict[str, Any]:
    """Without the file the encoder once started from: the checkpoint has newer weights."""
    encoder = {key: value for key, value in hyper_parameters["encoder"].items() if key != "pretrained"}
    return {**hyper_parameters, "encoder": encoder}
