"""Weights that carry all it takes to rebuild their network.

A checkpoint is what the toolbox saves, ``{'params': ..., 'params_ema': ...}``, plus ``network_g``: the
network's registered type and hyper-parameters.
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.archs import build_network
from torch import Tensor, nn

from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.atomic import appearing_whole


class CheckpointError(ValueError):
    """A file of weights that cannot be used; the message names the file and the remedy."""


def save_checkpoint(path: str | os.PathLike[str], checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint so that the path holds either the whole of it or what it held before.

    Raises:
        CheckpointError: if it cannot be written, as on a full disk.
    """
    try:
        with appearing_whole(Path(path)) as file:
            torch.save(checkpoint, file)
    except (OSError, RuntimeError) as error:  # torch raises another on top of what the disk says
        reason = getattr(error.__context__, "strerror", None) or str(error).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be saved ({reason}); what it held before is kept") from error


def read_file(path: str | os.PathLike[str]) -> Any:
    """Read what torch saved, onto the CPU, executing nothing it may contain.

    Raises:
        CheckpointError: if there is no such file, or it cannot be read.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    try:
        check_records(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its readers of zip archives and pickles do
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason})") from error


def check_records(path: str | os.PathLike[str]) -> None:
    """Compare what a file holds with its own checksums, which torch writes but does not read.

    Raises:
        ValueError: if a record differs. Files in torch's format of before 2020 have no checksums.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"record {damaged} is damaged")


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of a training with the plugin.

    Raises:
        CheckpointError: if there is no such file, or it is not a checkpoint.
    """
    checkpoint = read_file(path)
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get("params"), dict):
        return checkpoint
    model = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if isinstance(model, dict) and "sd" in model:
        raise CheckpointError(f"{path}: saved by the published LIIF or LTE; run moeisr convert on it first")
    raise CheckpointError(f"{path}: holds no 'params'; a checkpoint of a training has them")


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
    try:
        net = build_without_pretrained(hyper_parameters)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise CheckpointError(f"{path}: the network it is of cannot be built ({reason})") from error
    if not isinstance(net, ImplicitSR):
        raise CheckpointError(f"{path}: is of {type(net).__name__}, which is no network of this plugin")
    load_weights(net, checkpoint.get("params_ema") or checkpoint["params"], path)
    return net.eval()


def load_weights(net: nn.Module, weights: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Load weights into a network that they must fit exactly.

    Raises:
        CheckpointError: naming the first keys that are missing, unknown or of another shape.
    """
    check_fit(weights, net.state_dict(), path, type(net).__name__)
    net.load_state_dict(weights)


def check_fit(
    weights: Mapping[str, Any], wanted: Mapping[str, Tensor], path: str | os.PathLike[str], network: str
) -> None:
    """Compare names and shapes of weights with those that a network wants.

    Raises:
        CheckpointError: naming the first keys that are missing, unknown, no tensors or of another shape.
    """
    faults = [f"{key} is missing" for key in wanted if key not in weights]
    faults += [f"{key} is unknown" for key in weights if key not in wanted]
    shapes = {
        key: tuple(weight.shape) if isinstance(weight, Tensor) else f"a {type(weight).__name__}"
        for key, weight in weights.items()
    }
    faults += [
        f"{key} is {shapes[key]} instead of {tuple(weight.shape)}"
        for key, weight in wanted.items()
        if key in weights and shapes[key] != tuple(weight.shape)
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise CheckpointError(f"{path}: does not fit {network}: {'; '.join(faults[:3])}{more}")


def build_without_pretrained(hyper_parameters: Mapping[str, Any]) -> Any:
    """Build a network without reading the file that its encoder is to start from."""
    encoder = {key: value for key, value in hyper_parameters["encoder"].items() if key != "pretrained"}
    return build_network({**hyper_parameters, "encoder": encoder})
