"""Arrays in memory that forked and spawned workers share."""

import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from basicsr.utils import get_root_logger
from torch import Tensor

# Bytes per block of shared memory. A block costs one file descriptor, and is copied once when it is made.
_SLAB = 256 * 2**20
# Shared memory of Linux. Containers often limit it, and writing past the limit kills the process.
_SHARED_MEMORY = Path("/dev/shm")


class _Location(NamedTuple):
    """Location of an array in the slabs."""

    slab: int
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype


class SharedArrays:
    """Arrays, read-only by convention, that other processes use without a copy.

    If shared memory is too small, the arrays are in the memory of this process. Forked workers still share
    them; spawned workers copy them.

    Args:
        arrays: the arrays, consumed one by one.
    """

    def __init__(self, arrays: Iterable[np.ndarray]) -> None:
        self._slabs: list[Tensor | np.ndarray] = []
        self._locations: list[_Location] = []
        self.nbytes = 0
        for group in _groups(arrays, _SLAB):
            start = 0
            for array in group:
                self._locations.append(_Location(len(self._slabs), start, array.shape, array.dtype))
                start += array.nbytes
            self._slabs.append(_shared(np.concatenate([a.reshape(-1).view(np.uint8) for a in group])))
            self.nbytes += start
        if not self.is_shared:
            get_root_logger().warning(
                f"{_SHARED_MEMORY} is too small for {self.nbytes / 2**20:.0f} MiB of pictures, so spawned "
                "workers copy them; enlarge it (docker run --shm-size)"
            )

    def __getitem__(self, index: int) -> np.ndarray:
        slab, start, shape, dtype = self._locations[index]
        stop = start + math.prod(shape) * dtype.itemsize
        return np.asarray(self._slabs[slab])[start:stop].view(dtype).reshape(shape)

    @property
    def is_shared(self) -> bool:
        """Whether spawned workers share all arrays."""
        return all(isinstance(slab, Tensor) for slab in self._slabs)


def _groups(arrays: Iterable[np.ndarray], nbytes: int) -> Iterator[list[np.ndarray]]:
    """Yield groups of arrays of at least `nbytes` bytes each, except the last group."""
    group: list[np.ndarray] = []
    group_bytes = 0
    for array in arrays:
        group.append(array)
        group_bytes += array.nbytes
        if group_bytes >= nbytes:
            yield group
            group, group_bytes = [], 0
    if group:
        yield group


def _shared(slab: np.ndarray) -> Tensor | np.ndarray:
    """Copy bytes to shared memory, or return the array itself if shared memory is too small."""
    if _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free < 2 * slab.nbytes:
        return slab
    return torch.from_numpy(slab).share_memory_()
