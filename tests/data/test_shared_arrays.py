"""Arrays shared with workers: equal values, one copy."""

import pickle
from collections import namedtuple
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from picture_files import noise
from torch.utils.data import DataLoader, Dataset

from moeisr_plugin.data import shared_arrays
from moeisr_plugin.data.shared_arrays import SharedArrays

ARRAYS = [
    noise(5, 7),
    noise(3, 3, seed=1, dtype=np.uint16),
    noise(4, 9, seed=2),
    np.zeros((2, 1, 3), np.uint8),
]


@pytest.mark.parametrize("slab", [1, 100, 10**6])
def test_arrays_of_any_size_and_type_are_stored(slab, monkeypatch):
    monkeypatch.setattr(shared_arrays, "_SLAB", slab)
    kept = SharedArrays(iter(ARRAYS))
    assert kept.is_shared
    assert kept.nbytes == sum(array.nbytes for array in ARRAYS)
    for index, array in enumerate(ARRAYS):
        assert kept[index].dtype == array.dtype
        np.testing.assert_array_equal(kept[index], array)


class Marked(Dataset):
    """Writes to the arrays on access; the change is visible only in shared memory."""

    def __init__(self, arrays):
        self.arrays = arrays

    def __len__(self):
        return 2

    def __getitem__(self, index):
        before = int(self.arrays[index][0, 0, 0])
        self.arrays[index][0, 0, 0] = 200 + index
        return before


def test_forked_workers_share_the_memory():
    arrays = SharedArrays(np.full((2, 2, 3), number, np.uint8) for number in (10, 20))
    loader = DataLoader(Marked(arrays), batch_size=None, num_workers=1, multiprocessing_context="fork")
    assert list(loader) == [10, 20]
    assert [int(arrays[index][0, 0, 0]) for index in (0, 1)] == [200, 201]


def test_spawned_workers_share_the_memory():
    arrays = SharedArrays([np.full((200, 200, 3), 10, np.uint8)])
    sent = bytes(ForkingPickler.dumps(arrays))
    assert len(sent) < 2000
    received = pickle.loads(sent)
    received[0][0, 0, 0] = 200
    assert arrays[0][0, 0].tolist() == [200, 10, 10]


def test_small_shared_memory_falls_back_to_private_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(shared_arrays, "_SHARED_MEMORY", tmp_path)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shared_arrays.shutil, "disk_usage", lambda path: usage(free=100))
    warnings = []
    monkeypatch.setattr(shared_arrays.get_root_logger(), "warning", warnings.append)
    kept = SharedArrays(ARRAYS)
    assert not kept.is_shared
    assert len(warnings) == 1
    assert "--shm-size" in warnings[0]
    np.testing.assert_array_equal(kept[2], ARRAYS[2])
