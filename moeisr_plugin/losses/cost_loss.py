"""Cost loss, which makes the mapper pay for deep experts."""

from collections.abc import Sequence

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from moeisr_plugin.utils import processes


@LOSS_REGISTRY.register()
class CostLoss(nn.Module):
    """Mean cost of routing, Σ_k Σ_j D_kj c_j / K over K LR pixels and J experts.

    D is the softmax of the mapper's scores over the experts, without noise. This loss is not in the paper.
    The balance loss fixes the shares of the experts, but not which pixels get the deep ones. With a price on
    depth, a pixel is routed to a deep expert only if this reduces its error by more than the price.

    Args:
        loss_weight: price of the deepest expert, in the unit of the pixel loss.
        expert_costs: c_j for each expert, shallowest first. Defaults to evenly spaced values from 0 to 1,
            because each expert of the paper has one layer more than the previous one.
    """

    def __init__(self, *, loss_weight: float = 1.0, expert_costs: Sequence[float] | None = None) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.expert_costs = expert_costs

    def forward(self, scores: Tensor) -> Tensor:
        """Compute the mean cost over the batches of all processes.

        Args:
            scores: scores of the mapper, (B, J, h, w).

        Returns:
            A scalar, equal in all processes.

        Raises:
            ValueError: If the number of `expert_costs` is not J.
        """
        num_experts = scores.shape[1]
        costs = self.expert_costs or torch.linspace(0, 1, num_experts).tolist()
        if len(costs) != num_experts:
            raise ValueError(
                f"expert_costs of CostLoss has {len(costs)} values for {num_experts} experts; "
                "give one per expert"
            )
        own_load = scores.softmax(dim=1).sum(dim=(0, 2, 3))  # (J,)
        load = processes.sum_over_processes(own_load)
        paid = torch.stack([cost * share for cost, share in zip(costs, load, strict=True)])  # (J,)
        return self.loss_weight * paid.sum() / load.detach().sum()
