"""Routing health of a network on one image: is its routing better than random routing?"""

from collections.abc import Callable

import torch
from torch import Tensor

from moeisr_plugin import render
from moeisr_plugin.archs import routing
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.metrics.routing_health import (
    depth_difficulty_correlation,
    expert_shares,
    mean_confidence,
)


def share_per_depth(net: ImplicitNetwork, scores: Tensor) -> dict[str, float]:
    """Return the share of LR pixels routed to each expert by its depth: {"share_d2": 0.4, ...}."""
    shares = expert_shares(scores).tolist()
    return {f"share_d{expert.depth}": share for expert, share in zip(net.expert_list, shares, strict=True)}


def routing_health(
    net: ImplicitNetwork,
    encoding: Encoding,
    size: tuple[int, int],
    measure: Callable[[Tensor], float],
    *,
    routed: float,
) -> dict[str, float]:
    """Compute statistics of routing, and compare it to other routings by a metric on one image.

    Args:
        net: network with two or more experts.
        encoding: encoding of one LR image.
        size: (H, W) of the output.
        measure: metric of a rendered image (1, 3, H, W). Larger is better.
        routed: metric of the image rendered with the routing of the mapper.

    Returns:
        share_d2, ...: share of LR pixels of each expert, by its depth.
        confidence: mean of the largest probability.
        depth_corr: rank correlation of expert depth and gradient energy.
        gain: `routed` minus the metric with the same shares of experts at random pixels.
        only_d2, ...: metric with one expert at all pixels.
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
