"""Routing health of a network on one picture: what its mapper's choice is worth."""

from collections.abc import Callable

import torch
from torch import Tensor

from moeisr_plugin import render
from moeisr_plugin.archs import routing
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.metrics.routing_health import (
    depth_difficulty_correlation,
    expert_shares,
    mean_confidence,
)


def share_per_depth(net: ImplicitSR, scores: Tensor) -> dict[str, float]:
    """The share of LR pixels that choose each expert, by its depth: {"share_d2": 0.4, ...}."""
    shares = expert_shares(scores).tolist()
    return {f"share_d{expert.depth}": share for expert, share in zip(net.expert_list, shares, strict=True)}


def routing_health(
    net: ImplicitSR,
    encoding: Encoding,
    size: tuple[int, int],
    measure: Callable[[Tensor], float],
    *,
    routed: float,
) -> dict[str, float]:
    """Shares of the experts, and what the mapper's choice is worth by a metric on one picture.

    Args:
        net: a mixture.
        encoding: of one LR picture.
        size: (H, W) to render at.
        measure: the metric, the larger the better, of a rendered picture (1, 3, H, W).
        routed: the metric of the picture as the mapper routes it.

    Returns:
        share_d2, ...: share of LR pixels per expert, by its depth.
        confidence: mean largest probability.
        depth_corr: rank correlation of expert depth and gradient energy.
        gain: the metric, less that of the same experts dealt to pixels at random in the same shares.
        only_d2, ...: the metric of each expert used everywhere.
    """

    def measured(scores: Tensor) -> float:
        return measure(render.render(net, encoding._replace(scores=scores), size))

    scores = encoding.scores
    depths = [expert.depth for expert in net.expert_list]
    generator = torch.Generator().manual_seed(0)
    at_random = measured(routing.shuffle_scores(scores, generator=generator))
    return {
        **share_per_depth(net, scores),
        "confidence": mean_confidence(scores).item(),
        "depth_corr": depth_difficulty_correlation(scores, depths, encoding.lr).item(),
        "gain": routed - at_random,
        **{f"only_d{depth}": measured(routing.use_everywhere(scores, j)) for j, depth in enumerate(depths)},
    }
