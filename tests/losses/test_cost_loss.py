"""The cost loss matches an explicit sum."""

import pytest
import torch
from basicsr.losses import build_loss


@pytest.mark.parametrize("costs", [None, [0.0, 0.2, 0.9, 4.0]])
def test_loss_matches_the_mean_cost(costs):
    scores = torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    loss = build_loss({"type": "CostLoss", "loss_weight": 0.5, "expert_costs": costs})
    expected = 0.0
    for pixel in scores.movedim(1, -1).reshape(-1, 4):
        weights = [torch.exp(score) / torch.exp(pixel).sum() for score in pixel]
        each = costs or [0, 1 / 3, 2 / 3, 1]
        expected += sum(weight * cost for weight, cost in zip(weights, each, strict=True)) / (2 * 5 * 7)
    assert loss(scores).item() == pytest.approx(float(0.5 * expected), rel=1e-6)


def test_gradient_matches_finite_differences():
    loss = build_loss({"type": "CostLoss", "loss_weight": 2.0})
    scores = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.autograd.gradcheck(loss, scores.requires_grad_())


def test_the_shallowest_expert_costs_nothing_and_the_deepest_the_price():
    loss = build_loss({"type": "CostLoss", "loss_weight": 3.0})
    for expert, cost in ((0, 0.0), (3, 3.0)):
        alone = torch.zeros(1, 4, 3, 3)
        alone[:, expert] = 100
        assert loss(alone).item() == pytest.approx(cost)


def test_a_wrong_number_of_costs_is_refused():
    loss = build_loss({"type": "CostLoss", "expert_costs": [0.0, 1.0]})
    with pytest.raises(ValueError, match="2 values for 4 experts"):
        loss(torch.zeros(1, 4, 3, 3))
