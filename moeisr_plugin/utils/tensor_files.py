"""Files of tensors, from anyone: what torch saves, and safetensors.

Nothing in a file is executed, and none takes much more memory than its own size.
"""

import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from moeisr_plugin.utils.atomic import atomic_write

SUFFIX = ".safetensors"
AVERAGED = "params_ema"
ENTRIES = ("params", AVERAGED)
"""What a safetensors file holds of a checkpoint, which knows no nesting: ``params`` under their own names, as
everyone's tools expect, and ``params_ema``, if any, under ``params_ema.NAME``."""


class CheckpointError(ValueError):
    """A file of weights that cannot be used; the message is one line naming the file and the remedy."""


def read_tensor_file(path: str | os.PathLike[str]) -> Any:
    """Reads a file onto the CPU; what it holds decides how, not its suffix.

    Returns:
        What torch saved. Of safetensors a dictionary: ``params``, ``params_ema`` if there are any, and the
        file's metadata, parsed where they are JSON.

    Raises:
        CheckpointError: there is no such file, or it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    try:
        if _is_safetensors(path):
            return _read_safetensors(path)
        if zipfile.is_zipfile(path):
            _check_archive(path)
        else:
            _check_pickle(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an error tells in one line
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose own text advises to run what the file holds
        reason = "it is damaged, or holds more than tensors and plain values, which is not run"
        remedy = "copy it again, or save the network's state_dict alone"
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason}); {remedy}") from error
    except Exception as error:  # readers of zip archives and pickles raise about anything on damaged data
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason}); copy it again") from error


def write_tensor_file(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Writes a checkpoint, as safetensors if the suffix says so, as torch does otherwise.

    The path holds either the whole of it or what it held before.

    Args:
        path: the file.
        content: ``params``, ``params_ema`` and whatever belongs to them; in safetensors this travels as JSON.

    Raises:
        CheckpointError: safetensors cannot hold something of it, or it cannot be written, as on a full disk.
    """
    path = Path(path)
    data = _to_safetensors(path, content) if path.suffix.lower() == SUFFIX else None
    try:
        with atomic_write(path) as file:
            torch.save(dict(content), file) if data is None else file.write(data)
    except (OSError, RuntimeError) as error:  # torch raises another on top of what the disk says
        reason = getattr(error.__context__, "strerror", None) or getattr(error, "strerror", None)
        reason = reason or str(error).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be saved ({reason}); what it held before is kept") from error


def _is_safetensors(path: Path) -> bool:
    """Whether a length and then JSON come first, as in no zip archive and no pickle."""
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"


def _check_pickle(path: Path) -> None:
    """Looks for the beginning of a pickle, as which torch saved before it took to zip archives."""
    with open(path, "rb") as file:
        beginning = file.read(4)
    if beginning in (b"", b"PK\x03\x04"):
        raise ValueError("it is cut off" if beginning else "it is empty")
    if not beginning.startswith(pickle.PROTO):
        raise ValueError("it is neither what torch saves nor safetensors")


def _read_safetensors(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {"params": {}}
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        for key, text in (file.metadata() or {}).items():
            content.setdefault(key, _parsed(text))
        for name in file.keys():  # noqa: SIM118  (it is no mapping)
            entry, _, own_name = name.partition(".")
            if entry == AVERAGED:
                content.setdefault(AVERAGED, {})[own_name] = file.get_tensor(name)
            else:
                content["params"][name] = file.get_tensor(name)
    return content


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _to_safetensors(path: Path, content: Mapping[str, Any]) -> bytes:
    tensors = {}
    for entry in ENTRIES:
        for name, value in content.get(entry, {}).items():
            if not isinstance(value, Tensor):
                raise CheckpointError(f"{path}: {entry}: {name} is a {type(value).__name__}, not a tensor")
            own_name = name if entry == "params" else f"{entry}.{name}"
            tensors[own_name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    try:
        metadata = {key: json.dumps(value) for key, value in content.items() if key not in ENTRIES}
    except TypeError as error:
        raise CheckpointError(f"{path}: safetensors cannot hold all of it ({error}); choose .pth") from error
    return safetensors_bytes(tensors, metadata)


def _check_archive(path: Path) -> None:
    """Compares what an archive holds with its own checksums, which torch writes but does not read.

    torch stores without compressing; a small file that unpacks to a huge one is none of its own.
    """
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("its archive is compressed, which torch's never are")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"record {damaged} is damaged")
