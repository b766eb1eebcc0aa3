"""Reading and writing tensor files from untrusted sources: torch checkpoints and safetensors.

No code in a file is executed. Reading takes little more memory than the size of the file.
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
from moeisr_plugin.utils.available_memory import available_memory
from moeisr_plugin.utils.regular_files import special_kind
from moeisr_plugin.utils.shortage import DiskShortageError, memory_shortage

SUFFIX = ".safetensors"
COPIES = 3
"""Copies of a file that reading it needs at most: the file, its tensors, and scratch memory."""
AVERAGED = "params_ema"
ENTRIES = ("params", AVERAGED)
"""Entries of a checkpoint that safetensors stores as tensors.

Safetensors has no nesting: ``params`` keep their own names, as other tools expect; ``params_ema`` are named
``params_ema.NAME``.
"""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message is one line with the file and the remedy."""


def read_tensor_file(path: str | os.PathLike[str]) -> Any:
    """Read a file onto the CPU. The content decides on the format, not the suffix. `~` is the home folder.

    Returns:
        The object that torch saved. For safetensors a dictionary with ``params``, ``params_ema`` if present,
        and the metadata of the file, parsed where they are JSON.

    Raises:
        CheckpointError: the file is missing or cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        kind = special_kind(path) if path.exists() else None
        raise CheckpointError(f"{path}: {f'is {kind}, not a file' if kind else 'no such file'} of weights")
    try:
        if _is_safetensors(path):
            return _read_safetensors(path)
        if zipfile.is_zipfile(path):
            _check_archive(path)
        else:
            _check_pickle(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error message says what is wrong
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's message recommends to execute the code in the file
        reason = "it is damaged, or holds more than tensors and plain values, which is not run"
        remedy = "copy it again, or save the network's state_dict alone"
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason}); {remedy}") from error
    except Exception as error:  # readers of zip archives and pickles raise many types on damaged data
        if memory_shortage(error) and not _fits_in_memory(path):
            raise MemoryError(f"{path}: {error}") from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason}); copy it again") from error


def _fits_in_memory(path: Path) -> bool:
    """Return whether the tensors of a file fit into memory. If so, a shortage comes from damaged lengths."""
    available = available_memory()
    return available is None or COPIES * path.stat().st_size <= available


def write_tensor_file(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically: safetensors for the suffix .safetensors, else the format of torch.

    Args:
        path: the file.
        content: ``params``, ``params_ema`` and further entries. Safetensors stores the latter as JSON.

    Raises:
        CheckpointError: safetensors cannot hold the content, or the file cannot be written (full disk).
    """
    path = Path(path)
    data = _to_safetensors(path, content) if path.suffix.lower() == SUFFIX else None
    try:
        with atomic_write(path) as file:
            torch.save(dict(content), file) if data is None else file.write(data)
    except DiskShortageError as error:
        raise CheckpointError(f"{error}; an earlier file is unchanged") from error
    except (OSError, RuntimeError) as error:  # torch wraps the error of the disk in its own
        reason = getattr(error.__context__, "strerror", None) or getattr(error, "strerror", None)
        reason = reason or str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: cannot be saved ({reason}); check the disk; an earlier file is unchanged"
        ) from error


def _is_safetensors(path: Path) -> bool:
    """Return whether the file starts with a length and JSON, unlike a zip archive or a pickle."""
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"


def _check_pickle(path: Path) -> None:
    """Check that the file starts like a pickle, the format of torch before it changed to zip archives."""
    with open(path, "rb") as file:
        beginning = file.read(4)
    if beginning in (b"", b"PK\x03\x04"):
        raise ValueError("it is cut off" if beginning else "it is empty")
    if not beginning.startswith(pickle.PROTO):
        raise ValueError("it is neither a torch file nor safetensors")


def _read_safetensors(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {"params": {}}
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        for key, text in (file.metadata() or {}).items():
            content.setdefault(key, _parsed(text))
        for name in file.keys():  # noqa: SIM118  (not a mapping)
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
    return _with_sorted_metadata(safetensors_bytes(tensors, metadata))


def _with_sorted_metadata(data: bytes) -> bytes:
    """Sort the metadata in the header, which the library writes in random order. Equal files get one hash.

    The header is JSON after its length, 8 bytes in little-endian order, padded with spaces.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    if len(header.get("__metadata__", {})) < 2:
        return data
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


def _check_archive(path: Path) -> None:
    """Check an archive against its checksums, which torch writes but does not verify.

    Refuse compressed archives: torch does not compress, and a small file could unpack to a huge one.
    """
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("its archive is compressed, unlike those of torch")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"record {damaged} is damaged")
