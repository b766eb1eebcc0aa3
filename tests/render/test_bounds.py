"""Bounds of rendered values, against a search of the LR pixels around each output pixel."""

import numpy as np
import pytest
import torch

from moeisr_plugin.render.bounds import Bounds


def expected_bounds(lr, side, margin, size):
    """Return lower and upper bounds (3, H, W), pixel by pixel."""
    height, width = lr.shape[1:]
    lower, upper = np.empty((2, 3, *size))
    for i, j in np.ndindex(*size):
        y, x = (i + 0.5) * height / size[0], (j + 0.5) * width / size[1]  # in LR pixels
        if side == 3:
            rows, columns = (int(c) + np.arange(-1, 2) for c in (y, x))
        else:
            rows, columns = (int(np.floor(c - 0.5)) + np.arange(2) for c in (y, x))
        around = lr[:, rows.clip(0, height - 1)][:, :, columns.clip(0, width - 1)].reshape(3, -1)
        low, high = around.min(axis=1), around.max(axis=1)
        lower[:, i, j], upper[:, i, j] = low - margin * (high - low), high + margin * (high - low)
    return lower, upper


@pytest.mark.parametrize("side", [2, 3])
@pytest.mark.parametrize(("lr_size", "size"), [((5, 7), (13, 26)), ((1, 4), (3, 15)), ((6, 3), (6, 3))])
@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_values_beyond_the_bounds_become_the_bounds(side, lr_size, size, margin):
    lr = torch.rand(1, 3, *lr_size, generator=torch.Generator().manual_seed(0))
    lower, upper = expected_bounds(lr[0].numpy(), side, margin, size)
    bounds = Bounds(lr, side=side, margin=margin)
    for value, expected in ((-9.0, lower), (9.0, upper)):
        whole = bounds.clamp(torch.full((1, 3, *size), value), first_row=0, size=size)
        np.testing.assert_allclose(whole[0].numpy(), expected, rtol=0, atol=1e-6)
        last = bounds.clamp(torch.full((1, 3, 2, size[1]), value), first_row=size[0] - 2, size=size)
        np.testing.assert_array_equal(last.numpy(), whole[:, :, -2:].numpy())


def test_values_within_the_bounds_are_kept():
    lr = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    lower, upper = expected_bounds(lr[0].numpy(), 3, 1.0, (11, 9))
    inside = torch.from_numpy((lower + upper) / 2).float()[None]
    torch.testing.assert_close(
        Bounds(lr, side=3, margin=1.0).clamp(inside, first_row=0, size=(11, 9)), inside, rtol=0, atol=0
    )
