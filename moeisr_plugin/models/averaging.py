"""The exponential average of weights over the iterations."""

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Moves averaged weights towards a network's, or a part's, by one call instead of two for each parameter.

    Args:
        average: of the same parameters, changed in place.
        net: what learns.
        decay: what remains of the average, from 0 to 1.
    """
    if parameters := tuple(net.parameters()):
        get_ema_multi_avg_fn(decay)(tuple(average.parameters()), parameters, None)


def bias_corrected_decay(decay: float, count: int) -> float:
    """The decay of a second step towards the same value, by which all that was before the first is forgotten.

    After it, the n-th value since weighs (1 - decay) / (1 - decay^n), as Adam corrects its bias.

    Args:
        decay: of the first step, above 0 and below 1.
        count: which value this is, from 1 on.
    """
    return (1 - decay ** (count - 1)) / (1 - decay**count)
