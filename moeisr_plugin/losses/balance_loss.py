"""The loss that keeps the mapper from sending every pixel to the same expert."""

from collections.abc import Sequence
from typing import Literal

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from moeisr_plugin.utils import processes


@LOSS_REGISTRY.register()
class BalanceLoss(nn.Module):
    """Balance loss, Σ_j | w_j Σ_k D_kj - K/J | over K LR pixels and J experts (paper, Eq. 7).

    D is the softmax of the mapper's scores over the experts, without noise.

    Args:
        loss_weight: β of the paper's Eq. 6.
        expert_weights: w_j, one per expert, shallowest first; all 1 if not given. A larger w_j lets the
            expert be chosen less often.
        reduction: ``sum`` is Eq. 7 to the letter; ``mean`` divides it by K, so that it weighs the same
            whatever the size of the batch.

    Raises:
        ValueError: for another reduction.
    """

    def __init__(
        self,
        *,
        loss_weight: float = 1.0,
        expert_weights: Sequence[float] | None = None,
        reduction: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise ValueError(f"reduction of the balance loss must be sum or mean, not {reduction!r}")
        self.loss_weight = loss_weight
        self.expert_weights = expert_weights
        self.reduction = reduction

    def forward(self, scores: Tensor) -> Tensor:
        """The loss of the mapper's scores (B, J, h, w), a scalar.

        Not being linear in the batch, it is taken over the batches of all processes at once, and so is the
        same in each of them.

        Raises:
            ValueError: if there is not one weight per expert.
        """
        num_experts = scores.shape[1]
        weights = self.expert_weights or [1.0] * num_experts
        if len(weights) != num_experts:
            raise ValueError(
                f"expert_weights of the balance loss has {len(weights)} values for {num_experts} experts"
            )
        own_load = scores.softmax(dim=1).sum(dim=(0, 2, 3))  # (J,)
        own_pixels = own_load.new_full((1,), scores.numel() // num_experts)
        load, num_pixels = processes.sum_over_processes(torch.cat([own_load, own_pixels])).split(
            [num_experts, 1]
        )
        weighed = torch.stack([weight * share for weight, share in zip(weights, load, strict=True)])  # (J,)
        loss = (weighed - num_pixels / num_experts).abs().sum()
        return self.loss_weight * (loss / num_pixels.squeeze() if self.reduction == "mean" else loss)
