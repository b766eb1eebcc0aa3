"""Start distributed training on CPUs."""

import functools
from collections.abc import Callable
from typing import Any

import torch


def mend_dist_util(dist_util: Any) -> None:
    """Start distributed training on CPUs with gloo; on GPUs the toolbox's own function runs unchanged.

    Mends `_init_dist_pytorch` in basicsr/utils/dist_util.py:21, which takes the rank modulo the number of
    GPUs and always uses NCCL. Can go when the toolbox chooses the backend by device.
    """
    dist_util.init_dist = with_gloo(dist_util.init_dist)


def with_gloo(init_dist: Callable[..., None]) -> Callable[..., None]:
    """Wrap `init_dist` so that it calls `start_gloo` where there is no CUDA."""

    @functools.wraps(init_dist)
    def started(launcher: str, *args: Any, **kwargs: Any) -> None:
        start = init_dist if torch.cuda.is_available() else start_gloo
        start(launcher, *args, **kwargs)

    return started


def start_gloo(launcher: str, *args: Any, **kwargs: Any) -> None:
    """Start a process group on CPUs; the other arguments of `init_dist` concern GPUs.

    Raises:
        ValueError: a launcher other than `pytorch`.
    """
    if launcher != "pytorch":
        raise ValueError(f"--launcher {launcher} needs GPUs; on CPUs use torchrun and --launcher pytorch")
    if torch.multiprocessing.get_start_method(allow_none=True) is None:
        torch.multiprocessing.set_start_method("spawn")
    torch.distributed.init_process_group("gloo")
