"""Losses, registered with the toolbox's LOSS_REGISTRY."""

from moeisr_plugin.losses.balance_loss import BalanceLoss

__all__ = ["BalanceLoss"]
