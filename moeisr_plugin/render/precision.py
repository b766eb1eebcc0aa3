"""Casting a network to the numbers it is to compute in."""

from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.archs.precision import PRECISIONS


def to_precision(net: ImplicitSR, precision: str) -> ImplicitSR:
    """The network itself, its parameters cast but for those of the embedding that must not be coarse.

    Coordinates, weights of the local ensemble and colours stay in float32, and so do the angles of LTE.

    Args:
        net: the network.
        precision: one of `PRECISIONS`.

    Raises:
        ValueError: if it is none of them.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; give {', '.join(PRECISIONS)}")
    kept = {f"embedding.{part}" for part in net.embedding.precise_parts}
    for name, module in net.named_modules():
        if name not in kept:
            for parameter in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                if parameter.is_floating_point():
                    parameter.data = parameter.data.to(PRECISIONS[precision])
    return net
