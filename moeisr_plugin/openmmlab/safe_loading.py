"""Let a Runner read its own checkpoints without running code from files.

A checkpoint of mmengine 0.10.7 holds the history of its logs: objects of mmengine with NumPy arrays, and the
names of their methods.
"""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

_STATISTICS = ("min", "max", "current", "mean")


def trust_log_history() -> None:
    """Allow what a log history consists of in files that torch reads with ``weights_only``.

    Mends `torch.load` in mmengine/runner/checkpoint.py:347. Since torch 2.6 it reads only tensors and plain
    values by default, so that `Runner` cannot resume. Can go when mmengine allows its classes itself.
    """
    # Modules of these functions and classes differ between versions of NumPy.
    rebuilding: list[Any] = [value.__reduce__()[0] for value in (np.empty(0), np.float64())]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.int64)]  # of values and of their counts
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            *rebuilding,
            np.ndarray,
            np.dtype,
            *kinds,
            (statistic, "builtins.getattr"),
        ]
    )


def statistic(owner: Any, name: str) -> Callable[..., Any]:
    """Return a method of the log history. It replaces `getattr`, by which a pickle refers to methods.

    Raises:
        UnpicklingError: another object or attribute; `getattr` would give a file access to everything.
    """
    if owner is HistoryBuffer and name in _STATISTICS:
        return getattr(owner, name)
    raise pickle.UnpicklingError(f"refers to the attribute {name}, which is not a statistic of a log")
