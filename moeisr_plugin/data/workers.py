"""Data loading that neither disturbs training's random numbers nor dies of signals meant for it."""

import signal
from collections.abc import Callable
from functools import partial

import torch
from torch.utils.data import DataLoader


def set_apart(loader: DataLoader, *, seed: int) -> None:
    """Give a loader random numbers of its own, and let its workers outlive signals to the whole group.

    A loader takes a number from torch's default generator each time it is iterated over, also by a validation
    that a resumed run does not repeat.

    Args:
        loader: not iterated over yet.
        seed: of the loader's own generator.
    """
    loader.generator = torch.Generator().manual_seed(seed)
    loader.worker_init_fn = partial(_start, then=loader.worker_init_fn)


def _start(worker: int, *, then: Callable[[int], None] | None) -> None:
    """Leave it to the main process when to end: a terminal or a scheduler signals all of its processes."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if then is not None:
        then(worker)
