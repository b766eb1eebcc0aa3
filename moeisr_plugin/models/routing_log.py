"""Numbers on the routing of a training batch, for the log."""

from torch import Tensor

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.metrics.routing_health import depth_difficulty_correlation, mean_confidence
from moeisr_plugin.render.routing_report import share_per_depth


def routing_log(net: ImplicitNetwork, scores: Tensor, lr: Tensor) -> dict[str, float]:
    """Return the shares of the depths, the confidence and the correlation of depth and difficulty.

    Args:
        net: the network.
        scores: (B, J, h, w).
        lr: (B, 3, h, w).

    Returns:
        The numbers by name; none for a network with one expert.
    """
    if scores.shape[1] == 1:
        return {}
    depths = [expert.depth for expert in net.expert_list]
    return {
        **share_per_depth(net, scores),
        "confidence": mean_confidence(scores).item(),
        "depth_corr": depth_difficulty_correlation(scores, depths, lr).item(),
    }
