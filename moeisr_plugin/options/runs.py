"""The settings of a run, and what all checks of options share."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

import torch

Finding = tuple[str, str]
"""The path of a key, and a message: the problem and the remedy."""


class Run(NamedTuple):
    """The settings of a run on the command line."""

    is_train: bool = True
    launcher: str = "none"
    auto_resume: bool = False
    root: str = "."  # parent folder of experiments and results

    @property
    def world_size(self) -> int:
        """The number of processes."""
        variable = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS"}.get(self.launcher, "")
        return int(os.environ.get(variable, 1))


def batch_of_process(opt: Mapping[str, Any], run: Run) -> int:
    """Return the samples in a training batch of one process, which uses all GPUs without a launcher."""
    return opt["datasets"]["train"]["batch_size_per_gpu"] * max(gpus_of_process(opt, run), 1)


def gpus_of_process(opt: Mapping[str, Any], run: Run) -> int:
    """Return the number of GPUs of one process: without a launcher, all of `num_gpu`."""
    present = torch.cuda.device_count()
    wanted = present if opt["num_gpu"] == "auto" else opt["num_gpu"]
    wanted = min(wanted, present)  # `gpus` reports a larger number
    return wanted if run.launcher == "none" else min(wanted, 1)


Check = Callable[[Mapping[str, Any], Run], Iterator[Finding]]


def leads_out(path: PurePath) -> bool:
    """Return whether a path relative to a folder lies outside of it."""
    return path.is_absolute() or ".." in path.parts


def data_sets_of(opt: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the data sets of options, each with its phase."""
    yield from (opt.get("datasets") or {}).items()
