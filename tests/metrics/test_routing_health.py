"""Routing statistics match numpy and scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from moeisr_plugin.metrics.routing_health import (
    depth_difficulty_correlation,
    expert_shares,
    gradient_energy,
    mean_confidence,
)

SCORES = torch.randn(2, 4, 6, 9, generator=torch.Generator().manual_seed(0))
LR = torch.rand(2, 3, 6, 9, generator=torch.Generator().manual_seed(1))


def test_shares_match_a_count():
    chosen = SCORES.argmax(1).flatten().tolist()
    expected = [chosen.count(j) / len(chosen) for j in range(4)]
    assert expert_shares(SCORES).tolist() == pytest.approx(expected)
    assert expert_shares(SCORES[:, :3] + torch.tensor([9.0, 0, 0]).view(1, 3, 1, 1)).tolist() == [1, 0, 0]


def test_confidence_matches_numpy():
    probabilities = np.exp(SCORES.numpy()) / np.exp(SCORES.numpy()).sum(1, keepdims=True)
    assert mean_confidence(SCORES).item() == pytest.approx(probabilities.max(1).mean(), rel=1e-5)
    assert mean_confidence(torch.zeros(1, 4, 2, 2)).item() == pytest.approx(0.25)


def test_gradient_energy_matches_scipy():
    for sample in range(2):
        grey = LR[sample].double().numpy().mean(0)
        dy, dx = (ndimage.correlate1d(grey, [-0.5, 0, 0.5], axis, mode="nearest") for axis in (0, 1))
        energy = dy**2 + dx**2
        ones = np.ones((3, 3))
        expected = ndimage.convolve(energy, ones, mode="constant")
        expected /= ndimage.convolve(np.ones_like(energy), ones, mode="constant")
        np.testing.assert_allclose(gradient_energy(LR)[sample].numpy(), expected, rtol=1e-4)


def test_correlation_matches_scipy():
    depths = [2, 3, 4, 5]
    depth = np.asarray(depths)[SCORES.argmax(1).numpy()].ravel()
    expected, _ = stats.spearmanr(depth, gradient_energy(LR).numpy().ravel())
    assert depth_difficulty_correlation(SCORES, depths, LR).item() == pytest.approx(expected, abs=1e-6)


def test_correlation_is_zero_if_all_pixels_use_one_expert():
    assert depth_difficulty_correlation(torch.zeros(1, 4, 6, 9), [2, 3, 4, 5], LR[:1]).item() == 0
