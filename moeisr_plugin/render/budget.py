"""Routing within a computational budget, without retraining.

Each LR pixel is routed to the expert with the largest score - λ·cost. A constant added to all scores of a
pixel does not matter, so the scores need no softmax. As the price λ decreases from infinity to minus
infinity, a pixel moves from the shallowest expert to the deepest in upgrade steps. The price of a step is the
λ at which both of its experts are equally good. A budget is spent on the steps of all pixels by price.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.ops.precision import at_least_float32


class UpgradeSteps(NamedTuple):
    """Upgrade steps of K LR pixels from the shallowest of J experts to the deepest.

    A pixel that skips experts has fewer than J - 1 steps. Its other steps have a price of minus infinity, no
    cost, and do not change the expert.

    Attributes:
        price: (J - 1, K), does not increase along the steps.
        cost: (J - 1, K), MACs that the step adds.
        expert: (J - 1, K), expert after the step.
    """

    price: Tensor
    cost: Tensor
    expert: Tensor


def within_budget(net: ImplicitNetwork, encoding: Encoding, budget: float) -> Encoding:
    """Route an encoding so that decoding stays within a budget.

    Costs are the MACs of the experts. A larger budget never routes an LR pixel to a shallower expert. The
    share does not depend on how MACs are counted (as published or as executed), provided that all LR pixels
    have the same number of queries.

    Args:
        net: network with two or more experts.
        encoding: encoding of B images. The budget applies to each of them.
        budget: share, in [0, 1], of the cost between the extremes. With 0 all LR pixels use the shallowest
            expert, with 1 the deepest.

    Returns:
        The encoding with scores 1 for the chosen expert and 0 for the others. The unused part of the budget
        is smaller than the largest cost of an upgrade step of one LR pixel.

    Raises:
        ValueError: If the budget is not in [0, 1], or the network has only one expert.
    """
    if not 0 <= budget <= 1:
        raise ValueError(f"budget is {budget}; give a share between 0 and 1")
    costs = [expert.macs() for expert in net.expert_list]
    if len(costs) <= 1:
        kind = net.hyper_parameters["type"]
        raise ValueError(f"{kind} has one expert, so a budget has no effect; leave the budget out")
    batch, num_experts, height, width = encoding.scores.shape
    choice = torch.stack([_choose_within(scores.flatten(1), costs, budget) for scores in encoding.scores])
    chosen = F.one_hot(choice.view(batch, height, width), num_experts)  # (B, h, w, J)
    return encoding._replace(scores=chosen.movedim(-1, 1).to(encoding.scores))  # (B, J, h, w)


def upgrade_steps(scores: Tensor, costs: list[int]) -> UpgradeSteps:
    """Find the steps between experts that are optimal at some price.

    These experts form the upper convex hull of score over cost.

    Args:
        scores: (J, K).
        costs: costs of the J experts, strictly increasing.
    """
    scores = at_least_float32(scores)
    cost = torch.tensor(costs, device=scores.device)  # (J,)
    expert = torch.zeros_like(scores[0], dtype=torch.long)
    steps = []
    for _ in costs[1:]:
        gain = scores - scores.gather(0, expert[None])  # (J, K)
        added = cost[:, None] - cost[expert]  # (J, K)
        price = torch.where(added > 0, gain / added, -torch.inf)
        best, following = price.max(dim=0)
        expert = torch.where(best.isfinite(), following, expert)
        steps.append((best, torch.where(best.isfinite(), added.gather(0, following[None])[0], 0), expert))
    price, cost_of_step, reached = (torch.stack(part) for part in zip(*steps, strict=True))
    # Prices decrease along a hull. Rounding errors must not change the order of the steps of a pixel.
    return UpgradeSteps(price.cummin(dim=0).values, cost_of_step, reached)


def _choose_within(scores: Tensor, costs: list[int], budget: float) -> Tensor:
    """Choose the expert of each LR pixel, (K,), from scores (J, K)."""
    steps = upgrade_steps(scores, costs)
    # Stable sorting keeps the order of the steps of a pixel. Ties between pixels are split by position.
    order = steps.price.flatten().argsort(descending=True, stable=True)
    spent = steps.cost.flatten()[order].cumsum(0)
    affordable = torch.empty_like(order, dtype=torch.bool)
    affordable[order] = spent <= budget * int(spent[-1])
    return (steps.expert * affordable.view_as(steps.expert)).amax(dim=0)
