"""The exponential average of weights over the iterations."""

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def add_to_average(average: nn.Module, net: nn.Module, *, decay: float, mapper_decay: float) -> None:
    """Moves averaged weights towards those of the network, by two calls instead of two for each parameter.

    Args:
        average: a network of the same parameters, changed in place.
        net: the network that learns.
        decay: what remains of the average, from 0 to 1.
        mapper_decay: what remains of the mapper's.
    """
    averaged = dict(average.named_parameters())
    for decay_of_part, is_mapper in ((decay, False), (mapper_decay, True)):
        learnt = {k: p for k, p in net.named_parameters() if k.startswith("mapper.") == is_mapper}
        if learnt:
            move = get_ema_multi_avg_fn(decay_of_part)
            move(tuple(averaged[name] for name in learnt), tuple(learnt.values()), None)


def decay_since_begun(decay: float, count: int) -> float:
    """The decay by which an average is one of values since it began, and of nothing before.

    Its n-th value then weighs (1 - decay) / (1 - decay^n), as with Adam's correction of the bias.

    Args:
        decay: of the average when it has long begun, from 0 to below 1.
        count: which value comes now, from 1 on; 0 or less before the beginning.
    """
    return decay * (1 - decay ** (count - 1)) / (1 - decay**count) if count > 0 else decay
