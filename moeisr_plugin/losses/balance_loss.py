"""Balance loss, which prevents the mapper from routing all pixels to the same expert."""

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
        loss_weight: β in Eq. 6 of the paper.
        expert_weights: w_j for each expert, shallowest first. Defaults to 1. An expert with a larger w_j
            is chosen less often.
        reduction: ``sum`` is Eq. 7 as published. ``mean`` divides it by K, so that the loss does not depend
            on the number of pixels.

    Raises:
        ValueError: If `reduction` is unknown.
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
            raise ValueError(f"reduction of BalanceLoss is {reduction!r}; give sum or mean")
        self.loss_weight = loss_weight
        self.expert_weights = expert_weights
        self.reduction = reduction

    def forward(self, scores: Tensor) -> Tensor:
        """Compute the loss over the batches of all processes.

        The loss is not linear in the batch, so all processes share their loads and return the same value.

        Args:
            scores: scores of the mapper, (B, J, h, w).

        Returns:
            A scalar.

        Raises:
            ValueError: If the number of `expert_weights` is not J.
        """
        num_experts = scores.shape[1]
        weights = self.expert_weights or [1.0] * num_experts
        if len(weights) != num_experts:
            raise ValueError(
                f"expert_weights of BalanceLoss has {len(weights)} values for {num_experts} experts; "
                "give one per expert"
            )
        own_load = scores.softmax(dim=1).sum(dim=(0, 2, 3))  # (J,)
        own_pixels = own_load.new_full((1,), scores.numel() // num_experts)
        load, num_pixels = processes.sum_over_processes(torch.cat([own_load, own_pixels])).split(
            [num_experts, 1]
        )
        weighted = torch.stack([weight * share for weight, share in zip(weights, load, strict=True)])  # (J,)
        loss = (weighted - num_pixels / num_experts).abs().sum()
        return self.loss_weight * (loss / num_pixels.squeeze() if self.reduction == "mean" else loss)
