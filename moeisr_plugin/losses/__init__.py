"""Losses, registered with the toolbox's LOSS_REGISTRY."""

from moeisr_plugin.losses.balance_loss import BalanceLoss
from moeisr_plugin.losses.cost_loss import CostLoss

__all__ = ["BalanceLoss", "CostLoss"]
