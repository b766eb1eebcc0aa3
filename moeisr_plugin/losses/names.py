"""Names of the losses of the mapper."""

SCORE_LOSSES = {"balance": "expert_weights", "cost": "expert_costs"}
"""Losses of the scores of the mapper: their names, and their parameters with one value per expert.

The options of a loss are in ``train.NAME_opt``, for example ``train.balance_opt``.
"""
