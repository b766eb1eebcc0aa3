"""Data loading that neither disturbs training's random numbers nor dies of signals meant for it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import resource_tracker
from typing import Any

import torch
from torch.utils.data import DataLoader


class IsolatedLoader:
    """A loader with random numbers of its own, whose workers outlive signals to the whole group of processes.

    A loader takes a number from torch's default generator each time it is iterated over, also by a validation
    that a resumed run does not repeat.

    Args:
        loader: not iterated over yet.
        seed: of the loader's own generator.
    """

    def __init__(self, loader: DataLoader, *, seed: int) -> None:
        loader.generator = torch.Generator().manual_seed(seed)
        loader.worker_init_fn = partial(_start, then=loader.worker_init_fn)
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Iterates; workers are born with the signals blocked, for they may take seconds to import."""
        if not hasattr(signal, "pthread_sigmask"):  # on Windows
            return iter(self.loader)
        resource_tracker.ensure_running()  # which unblocks them when it starts
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
        try:
            return iter(self.loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
