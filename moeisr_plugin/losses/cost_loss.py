"""The loss by which the mapper pays for depth."""

from collections.abc import Sequence

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from moeisr_plugin.utils import processes


@LOSS_REGISTRY.register()
class CostLoss(nn.Module):
    """What the mapper's choice costs: Σ_k Σ_j D_kj c_j / K over K LR pixels and J experts.

    D is the softmax of the mapper's scores over the experts, without noise. Not of the paper. The balance
    loss asks for shares and leaves open who gets the deep experts; a price on depth lets it go where it saves
    more error than it costs.

    Args:
        loss_weight: the price of the deepest expert, in the unit of the pixel loss.
        expert_costs: c_j, one per expert, shallowest first; evenly from 0 to 1 if not given, as each of the
            paper's experts has one layer more than the one before.
    """

    def __init__(self, *, loss_weight: float = 1.0, expert_costs: Sequence[float] | None = None) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.expert_costs = expert_costs

    def forward(self, scores: Tensor) -> Tensor:
        """The loss of the mapper's scores (B, J, h, w), a scalar, the same in all processes.

        Raises:
            ValueError: if there is not one cost per expert.
        """
        num_experts = scores.shape[1]
        costs = self.expert_costs or torch.linspace(0, 1, num_experts).tolist()
        if len(costs) != num_experts:
            raise ValueError(
                f"expert_costs of the cost loss has {len(costs)} values for {num_experts} experts"
            )
        own_load = scores.softmax(dim=1).sum(dim=(0, 2, 3))  # (J,)
        load = processes.sum_over_processes(own_load)
        paid = torch.stack([cost * share for cost, share in zip(costs, load, strict=True)])  # (J,)
        return self.loss_weight * paid.sum() / load.detach().sum()
