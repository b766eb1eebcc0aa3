"""The balance loss matches an explicit sum of Eq. 7 of the paper."""

import numpy as np
import pytest
import torch
from basicsr.losses import build_loss


def equation_7(scores, weights):
    scores = scores.numpy().astype(np.float64)
    num_experts = scores.shape[1]
    pixels = np.moveaxis(scores, 1, -1).reshape(-1, num_experts)  # (K, J)
    total = 0.0
    for j in range(num_experts):
        load = sum(np.exp(pixel[j]) / np.exp(pixel).sum() for pixel in pixels)
        total += abs(weights[j] * load - len(pixels) / num_experts)
    return total, len(pixels)


@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 1.0, 3.7], [3.7, 1.0, 1.0, 1.0]])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_loss_matches_equation_7(weights, reduction):
    scores = torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0)) * 3
    loss = build_loss(
        {"type": "BalanceLoss", "loss_weight": 0.5, "expert_weights": weights, "reduction": reduction}
    )
    total, num_pixels = equation_7(scores, weights or [1.0] * 4)
    expected = 0.5 * total / (num_pixels if reduction == "mean" else 1)
    assert loss(scores).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_matches_finite_differences():
    loss = build_loss({"type": "BalanceLoss", "expert_weights": [1.0, 2.0, 0.5]})
    scores = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.autograd.gradcheck(loss, scores.requires_grad_())


def test_loss_of_even_scores_is_zero_and_of_one_expert_is_largest():
    loss = build_loss({"type": "BalanceLoss", "reduction": "mean"})
    assert loss(torch.zeros(1, 4, 3, 3)).item() == pytest.approx(0, abs=1e-6)
    alone = torch.zeros(1, 4, 3, 3)
    alone[:, 2] = 100
    assert loss(alone).item() == pytest.approx(3 / 4 + 3 * 1 / 4)


def test_invalid_options_are_refused():
    with pytest.raises(ValueError, match="reduction of BalanceLoss is 'average'; give sum or mean"):
        build_loss({"type": "BalanceLoss", "reduction": "average"})
    loss = build_loss({"type": "BalanceLoss", "expert_weights": [1.0, 1.0]})
    with pytest.raises(ValueError, match="2 values for 4 experts"):
        loss(torch.zeros(1, 4, 3, 3))
