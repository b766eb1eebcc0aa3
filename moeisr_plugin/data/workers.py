"""Data loaders with their own random state, whose workers ignore signals to the process group."""

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
    """Data loader with its own random generator, whose workers ignore signals to the process group.

    Each iterator of a plain DataLoader takes a number from the default generator of torch. So a validation
    would change the random numbers of the training, and a resumed run does not repeat the validation.

    Args:
        loader: a loader without an iterator so far.
        seed: seed of the generator.
    """

    def __init__(self, loader: DataLoader, *, seed: int) -> None:
        loader.generator = torch.Generator().manual_seed(seed)
        loader.worker_init_fn = partial(_init_worker, next_init=loader.worker_init_fn)
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator. Workers start with blocked signals, because their imports may take seconds."""
        if not hasattr(signal, "pthread_sigmask"):  # on Windows
            return iter(self.loader)
        resource_tracker.ensure_running()  # it unblocks the signals when it starts
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
        try:
            return iter(self.loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _init_worker(worker: int, *, next_init: Callable[[int], None] | None) -> None:
    """Let only the parent process end a worker; a terminal or scheduler signals all processes at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_exit_on_signal_of_parent, daemon=True).start()
    if next_init is not None:
        next_init(worker)


def _exit_on_signal_of_parent() -> None:
    parent = multiprocessing.parent_process()
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != (parent and parent.pid):
        pass
    os._exit(0)
