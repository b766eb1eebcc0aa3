"""Losses, registered with the toolbox's LOSS_REGISTRY.

They need the toolbox, so each is imported when it is first used. `names` needs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moeisr_plugin.losses.balance_loss import BalanceLoss
    from moeisr_plugin.losses.cost_loss import CostLoss
    from moeisr_plugin.losses.frequency_loss import FrequencyLoss

MODULES = {"BalanceLoss": "balance_loss", "CostLoss": "cost_loss", "FrequencyLoss": "frequency_loss"}
"""The module of each loss."""

__all__ = ["BalanceLoss", "CostLoss", "FrequencyLoss"]


def __getattr__(name: str) -> Any:
    """Import a loss (PEP 562)."""
    if name in MODULES:
        return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
