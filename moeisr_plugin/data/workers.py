"""Data loading that neither disturbs training's random numbers nor dies of signals meant for it."""

import multiprocessing
import os
import signal
import threading
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
    """Let the main process alone end a worker: a terminal or a scheduler signals all processes at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_when_parent_asks, daemon=True).start()
    if then is not None:
        then(worker)


def _end_when_parent_asks() -> None:
    parent = multiprocessing.parent_process()
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != (parent and parent.pid):
        pass
    os._exit(0)
