"""Arrays in memory that all workers share, whether they are forked or spawned."""

import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from basicsr.utils import get_root_logger
from torch import Tensor

# Bytes shared at a time: few enough to be copied once more, enough for each to cost a file descriptor.
_SLAB = 256 * 2**20
# Where Linux keeps shared memory. Containers often bound it, and writing past the bound kills the process.
_SHARED_MEMORY = Path("/dev/shm")


class _Location(NamedTuple):
    """Where an array is."""

    slab: int
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype


class SharedArrays:
    """Arrays, read-only by convention, of which processes that are given this object have no copies.

    Where there is not room enough for shared memory they lie in this process's own, which forked workers
    share as well and spawned ones copy.

    Args:
        arrays: consumed one by one.
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
                f"{_SHARED_MEMORY} has no room for {self.nbytes / 2**20:.0f} MiB of pictures, so that "
                "spawned workers copy them; enlarge it (docker run --shm-size)"
            )

    def __getitem__(self, index: int) -> np.ndarray:
        slab, start, shape, dtype = self._locations[index]
        stop = start + math.prod(shape) * dtype.itemsize
        return np.asarray(self._slabs[slab])[start:stop].view(dtype).reshape(shape)

    @property
    def is_shared(self) -> bool:
        """Whether spawned workers share all of it."""
        return all(isinstance(slab, Tensor) for slab in self._slabs)


def _groups(arrays: Iterable[np.ndarray], nbytes: int) -> Iterator[list[np.ndarray]]:
    """Arrays in groups of so many bytes; the last one in a group may exceed them."""
    group: list[np.ndarray] = []
    held = 0
    for array in arrays:
        group.append(array)
        held += array.nbytes
        if held >= nbytes:
            yield group
            group, held = [], 0
    if group:
        yield group


def _shared(slab: np.ndarray) -> Tensor | np.ndarray:
    """Bytes in shared memory; the array itself if there is no room for them."""
    if _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free < 2 * slab.nbytes:
        return slab
    return torch.from_numpy(slab).share_memory_()
