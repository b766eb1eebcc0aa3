"""Exponential moving average (EMA) of the weights."""

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Update averaged weights in place: average = decay · average + (1 - decay) · net.

    All parameters are updated in one call.

    Args:
        average: the averaged network, or a part of it.
        net: the trained network, or the same part of it.
        decay: decay of the average, from 0 to 1.
    """
    if parameters := tuple(net.parameters()):
        get_ema_multi_avg_fn(decay)(tuple(average.parameters()), parameters, None)


def bias_corrected_decay(decay: float, count: int) -> float:
    """Return the decay of a second update that corrects the EMA bias towards the initial value.

    After an update with `decay` and a second one with the returned decay, value n has the weight
    (1 - decay) / (1 - decay^n), and the initial value the weight 0. This is the bias correction of Adam.

    Args:
        decay: decay of the first update, above 0 and below 1.
        count: the number n of the value, from 1.
    """
    return (1 - decay ** (count - 1)) / (1 - decay**count)
