"""Routing within a budget matches a scan of all prices, and keeps to the budget."""

import argparse
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from references import TINY_ENCODER, lively, picture

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_arch import LIIF, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.archs.implicit_sr import Encoding
from moeisr_plugin.commands.budgets import MacsPerPixel, Share, parse_budget
from moeisr_plugin.render import complexity
from moeisr_plugin.render.budget import upgrade_steps

COSTS = [10, 25, 70, 100]
BUDGETS = torch.linspace(0, 1, 50).tolist()


def network(costs) -> Any:
    """Return the attributes of a network that routing within a budget uses."""
    experts = [SimpleNamespace(macs=lambda cost=cost: cost) for cost in costs]
    return SimpleNamespace(expert_list=experts, hyper_parameters={"type": "Network"})


def encoding_of(scores):
    """Make an encoding with scores (B, J, h, w)."""
    blank = scores[:, :1]
    return Encoding(blank.expand(-1, 3, -1, -1), blank, scores)


def random_scores(*, seed=0, batch=1, size=(23, 31), num_experts=4, levels=None):
    """Draw scores (B, J, h, w). `levels` limits the number of values, so that many pixels tie."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(batch, num_experts, *size, generator=generator)
    return scores if levels is None else (scores * levels / 4).round() / levels


def routed(scores, costs, budget):
    """Return the experts chosen within a budget, (B, h, w)."""
    return render.expert_map(render.within_budget(network(costs), encoding_of(scores), budget))


def spent(choice, costs):
    """Return the share of the range of costs that a choice (h, w) spends."""
    cost = torch.tensor(costs, dtype=torch.float64)
    return ((cost[choice].mean() - cost[0]) / (cost[-1] - cost[0])).item()


def scanned(scores, costs):
    """Return the choices (h, w) in all intervals between prices at which one changes, highest price first."""
    cost = torch.tensor(costs, dtype=torch.float64)
    pixels = scores.double().flatten(1)  # (J, K)
    prices = torch.cat(
        [
            (pixels[k] - pixels[j]) / (cost[k] - cost[j])
            for j in range(len(costs))
            for k in range(j + 1, len(costs))
        ]
    ).unique()
    between = (prices[1:] + prices[:-1]) / 2
    everywhere = torch.cat([prices[:1] - 1, between, prices[-1:] + 1]).flip(0)
    return [(scores.double() - price * cost[:, None, None]).argmax(0) for price in everywhere]


@pytest.mark.parametrize("num_experts", [2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_budget_equal_to_the_cost_of_a_choice_gives_this_choice(num_experts, seed):
    costs, scores = COSTS[:num_experts], random_scores(seed=seed, size=(5, 7), num_experts=num_experts)
    choices = scanned(scores[0], costs)
    assert len({spent(choice, costs) for choice in choices}) > 35 * (num_experts - 1) / 2
    for choice in choices:
        budget = min(spent(choice, costs) + 1e-9, 1)  # tolerance for rounding errors of the sum
        assert torch.equal(routed(scores, costs, budget)[0], choice)


@pytest.mark.parametrize("budget", [0.0, 0.013, 0.25, 0.4, 0.731, 0.999, 1.0])
def test_other_budgets_give_the_next_cheaper_choice(budget):
    scores = random_scores(size=(5, 7))
    choices = scanned(scores[0], COSTS)
    cheaper = [choice for choice in choices if spent(choice, COSTS) <= budget + 1e-9][-1]
    dearer = next((choice for choice in choices if spent(choice, COSTS) > budget + 1e-9), choices[-1])
    assert torch.equal(routed(scores, COSTS, budget)[0], cheaper)
    assert (cheaper <= dearer).all()


@pytest.mark.parametrize("levels", [None, 8, 1])
@pytest.mark.parametrize("budget", [0.0, 0.05, 0.3, 0.5, 0.77, 1.0])
def test_a_budget_is_almost_used_and_never_exceeded(budget, levels):
    """This also holds if many pixels have the same price."""
    scores = random_scores(batch=2, levels=levels)
    scores[1] = 0
    for choice in routed(scores, COSTS, budget):
        assert budget - 1 / choice.numel() < spent(choice, COSTS) <= budget + 1e-9


@pytest.mark.parametrize("make", [MoEISRLIIF, MoEISRLTE])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_larger_budget_never_gives_a_shallower_expert(make, seed):
    net = lively(make(encoder=TINY_ENCODER, hidden_dim=6), seed=seed).eval()
    encoding = render.encode(net, picture(1, 20, 31).float())
    costs = [expert.macs() for expert in net.expert_list]
    before = torch.zeros(20, 31, dtype=torch.long)
    for budget in BUDGETS:
        choice = render.expert_map(render.within_budget(net, encoding, budget))[0]
        assert (choice >= before).all()
        assert budget - 0.02 < spent(choice, costs) <= budget + 1e-9
        before = choice


def test_steps_of_a_pixel_stay_in_order_despite_rounding_errors():
    worth = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    steps = upgrade_steps(worth * torch.tensor(COSTS)[:, None], COSTS)
    assert (steps.price[1:] <= steps.price[:-1]).all()
    assert (steps.expert.diff(dim=0) >= 0).all()
    assert (steps.cost.sum(0) == COSTS[-1] - COSTS[0]).all()


def test_budgets_0_and_1_give_the_shallowest_and_the_deepest_expert():
    scores = random_scores(batch=2) * 1e6
    assert (routed(scores, COSTS, 0) == 0).all()
    assert (routed(scores, COSTS, 1) == 3).all()


def test_the_cost_of_the_mappers_choice_as_budget_gives_this_choice():
    scores = random_scores()
    chosen = scores.argmax(1)
    assert torch.equal(routed(scores, COSTS, spent(chosen[0], COSTS) + 1e-9), chosen)


def test_offsets_of_scores_and_costs_do_not_matter():
    scores = random_scores()
    expected = routed(scores, COSTS, 0.4)
    assert torch.equal(routed(scores.log_softmax(1).double(), COSTS, 0.4), expected)
    assert torch.equal(routed(scores, [7 * cost + 1000 for cost in COSTS], 0.4), expected)


def test_the_budget_applies_to_each_image():
    scores = torch.cat([random_scores(seed=0), 100 * random_scores(seed=1)])
    alone = torch.cat([routed(part[None], COSTS, 0.3) for part in scores])
    assert torch.equal(routed(scores, COSTS, 0.3), alone)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_scores_keep_shape_and_type(dtype):
    encoding = encoding_of(random_scores(batch=2).to(dtype))
    within = render.within_budget(network(COSTS), encoding, 0.5)
    assert within.scores.dtype == dtype
    assert within.scores.shape == encoding.scores.shape
    assert torch.equal(within.scores.sum(1), torch.ones(2, 23, 31, dtype=dtype))
    assert within.latent is encoding.latent
    assert abs(spent(render.expert_map(within)[0], COSTS) - 0.5) < 0.01


def test_rendering_uses_the_chosen_experts():
    net = lively(MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6)).eval()
    encoding = render.encode(net, picture(1, 9, 7).float())
    for budget, expert in ((0, 0), (1, 3)):
        scores = torch.zeros_like(encoding.scores)
        scores[:, expert] = 1
        expected = render.render(net, encoding._replace(scores=scores), (20, 17))
        within = render.within_budget(net, encoding, budget)
        assert torch.equal(render.render(net, within, (20, 17)), expected)


@pytest.mark.parametrize("budget", [-0.1, 1.01, math.nan])
def test_a_budget_outside_0_to_1_is_refused(budget):
    with pytest.raises(ValueError, match="give a share between 0 and 1"):
        routed(random_scores(), COSTS, budget)


def test_a_budget_for_a_single_expert_is_refused():
    net = LIIF(encoder=TINY_ENCODER, hidden_dim=6)
    encoding = render.encode(net, picture(1, 5, 7).float())
    with pytest.raises(ValueError, match=r"LIIF has one expert, .* leave the budget out$"):
        render.within_budget(net, encoding, 0.5)


# --- on the command line ---


def test_budgets_are_parsed():
    assert [parse_budget(text) for text in ("0", "0.4", "1")] == [Share(0), Share(0.4), Share(1)]
    assert [parse_budget(t) for t in ("20000mac", "2e4MAC")] == [MacsPerPixel(20000), MacsPerPixel(20000)]


@pytest.mark.parametrize("text", ["", "40%", "1.1", "-0.1", "nan", "mac", "0mac", "-5mac", "infmac", "20k"])
def test_invalid_budgets_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"from 0 to 1 .* or MACs per output pixel"):
        parse_budget(text)


@pytest.mark.parametrize("make", [MoEISRLIIF, MoEISRLTE])
@pytest.mark.parametrize("size", [(40, 62), (33, 50)])
def test_macs_per_pixel_are_not_exceeded(make, size):
    net, lr_size = lively(make(encoder=TINY_ENCODER, hidden_dim=6)).eval(), (20, 31)
    encoding = render.encode(net, picture(1, *lr_size).float())
    lowest, highest = (
        complexity.executed_macs(net, w) / math.prod(size)
        for w in complexity.extreme_workloads(net, lr_size, size)
    )
    for part in (0.0, 0.3, 0.8, 1.0):
        allowed = lowest + part * (highest - lowest)
        share = MacsPerPixel(allowed * (1 + 1e-12)).of(net, lr_size, size)
        choice = render.expert_map(render.within_budget(net, encoding, share))[0]
        executed = complexity.executed_macs(net, complexity.workload(net, choice, size)) / math.prod(size)
        assert allowed - 0.02 * (highest - lowest) < executed <= allowed * (1 + 1e-9)
        both = MacsPerPixel(2 * allowed * (1 + 1e-12)).of(net, lr_size, size, layers=2)
        assert both == pytest.approx(share)
    assert MacsPerPixel(2 * highest).of(net, lr_size, size) == 1
    assert Share(0.4).of(net, lr_size, size) == 0.4


def test_fewer_macs_than_the_shallowest_expert_needs_are_refused():
    net = MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6)
    with pytest.raises(ValueError, match=r"--budget 3mac: decoding needs at least \d+ MACs per output pixel"):
        MacsPerPixel(3).of(net, (5, 7), (10, 14))
