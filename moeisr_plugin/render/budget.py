"""Routing within a budget: the mapper's scores weighed against what the experts cost, without retraining.

Each LR pixel goes to the expert with the largest score - λ·cost; whatever is added to all scores of a pixel
changes nothing, so raw scores do. As the price λ falls from infinity to minus infinity, a pixel climbs from
the shallowest expert to the deepest in steps, each at the λ where its two ends are worth the same. A budget
is spent on the steps of a picture in that order.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.ops.precision import at_least_float32


class UpgradeSteps(NamedTuple):
    """How K LR pixels upgrade_steps from the shallowest of J experts to the deepest, in J - 1 steps at most.

    A pixel that arrives in fewer steps stays where it is in the others, at a price of minus infinity.
    """

    price: Tensor  # (J - 1, K), not growing from step to step
    cost: Tensor  # (J - 1, K), what the step adds
    expert: Tensor  # (J - 1, K), the one it leads to


def within_budget(net: ImplicitSR, encoding: Encoding, budget: float) -> Encoding:
    """The same encoding, routed so that decoding costs what it may.

    Costs are the MACs of the experts' layers. A budget is the share that may be spent of the difference
    between the two extremes; the share is the same in all countings in which LR pixels paint alike, in those
    as executed as in the published ones. A larger budget gives no LR pixel a shallower expert.

    Args:
        net: the network.
        encoding: of B pictures; the budget holds for each.
        budget: from 0, every LR pixel by the shallowest expert, to 1, every one by the deepest.

    Returns:
        The encoding, its scores 1 for the chosen expert, else 0. What is spent falls short of the budget by
        less than what the dearest step of one LR pixel costs.

    Raises:
        ValueError: if the budget is not between 0 and 1, or the network has only one expert.
    """
    if not 0 <= budget <= 1:
        raise ValueError(f"budget is {budget}; give a share between 0 and 1")
    costs = [expert.macs() for expert in net.expert_list]
    if len(costs) == 1:
        kind = net.hyper_parameters["type"]
        raise ValueError(f"{kind} has one expert and nothing to choose by a budget; leave the budget out")
    batch, num_experts, height, width = encoding.scores.shape
    choice = torch.stack([_choose_within(scores.flatten(1), costs, budget) for scores in encoding.scores])
    chosen = F.one_hot(choice.view(batch, height, width), num_experts)  # of (B, h*w)
    return encoding._replace(scores=chosen.movedim(-1, 1).to(encoding.scores))  # (B, J, h, w)


def upgrade_steps(scores: Tensor, costs: list[int]) -> UpgradeSteps:
    """The steps between experts that are the best for some price: the upper hull of score over cost.

    Args:
        scores: (J, K).
        costs: of J experts, growing.
    """
    scores = at_least_float32(scores)
    cost = torch.tensor(costs, device=scores.device)  # (J,)
    expert = torch.zeros_like(scores[0], dtype=torch.long)
    steps = []
    for _ in costs[1:]:
        gain = scores - scores.gather(0, expert[None])  # (J, K)
        added = cost[:, None] - cost[expert]  # (J, K)
        price = torch.where(added > 0, gain / added, -torch.inf)
        best, onwards = price.max(dim=0)
        expert = torch.where(best.isfinite(), onwards, expert)
        steps.append((best, torch.where(best.isfinite(), added.gather(0, onwards[None])[0], 0), expert))
    price, cost_of_step, reached = (torch.stack(part) for part in zip(*steps, strict=True))
    # On a hull prices fall; rounding must not let a step overtake the one before it.
    return UpgradeSteps(price.cummin(dim=0).values, cost_of_step, reached)


def _choose_within(scores: Tensor, costs: list[int], budget: float) -> Tensor:
    """The expert of each LR pixel, (K,), by its scores (J, K)."""
    steps = upgrade_steps(scores, costs)
    # A stable order keeps the steps of a pixel in turn, and leaves equally dear ones of others to be split.
    order = steps.price.flatten().argsort(descending=True, stable=True)
    spent = steps.cost.flatten()[order].cumsum(0)
    affordable = torch.empty_like(order, dtype=torch.bool)
    affordable[order] = spent <= budget * int(spent[-1])
    return (steps.expert * affordable.view_as(steps.expert)).amax(dim=0)
