"""Errors of a prefetching thread end the training."""

import pytest
import torch
from basicsr.data.prefetch_dataloader import PrefetchDataLoader


def test_an_error_while_prefetching_is_raised():
    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index == 2:
                raise ValueError("picture 2 is damaged")
            return index

    batches = iter(PrefetchDataLoader(2, dataset=Pictures(), batch_size=1))
    assert [next(batches).item(), next(batches).item()] == [0, 1]
    with pytest.raises(ValueError, match="picture 2 is damaged"):
        next(batches)
