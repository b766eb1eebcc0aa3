"""Names of losses in option files."""

SCORE_LOSSES = {"balance": "expert_weights", "cost": "expert_costs"}
"""Losses of the scores of the mapper: their names, and their parameters with one value per expert.

The options of a loss are in ``train.NAME_opt``, for example ``train.balance_opt``.
"""

PICTURE_LOSSES = ("perceptual", "tv", "frequency")
"""Losses of whole pictures, beside the pixel loss, also in ``train.NAME_opt``."""
