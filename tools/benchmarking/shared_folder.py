"""Time `moeisr upscale` of a folder by one process and by several that torchrun starts."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarking.timing import alternating


def measure_processes(
    folder: Path, network: str, scale: float, processes: int, repeats: int
) -> dict[str, Any]:
    """Return the wall-clock seconds of both, each with one thread per process, start included.

    Args:
        folder: pictures to enlarge.
        network: a checkpoint, or the name of a bundled network.
        scale: scale of both axes.
        processes: number of processes, at least 2.
        repeats: number of runs of each, in alternating order. The minimum counts.

    Raises:
        ValueError: this process may not use as many cores, or a run fails.
    """
    cores = usable_cores()
    if cores < processes:
        raise ValueError(
            f"--processes {processes}: this program may use {cores} cores; give fewer, or more cores"
        )
    seconds: dict[int, list[float]] = {1: [], processes: []}
    for order in alternating(2, repeats):
        for number in order:
            count = (1, processes)[number]
            seconds[count].append(_seconds(folder, network, scale, count))
    one, several = min(seconds[1]), min(seconds[processes])
    return {
        "network": Path(network).stem,
        "scale": scale,
        "pictures": folder.name,
        "processes": processes,
        "seconds_of_one": one,
        "seconds_of_several": several,
        "ratio": several / one,
        "repeats": repeats,
    }


def sentence(row: Mapping[str, Any]) -> str:
    """Return the result in a line."""
    return (
        f"{row['network']}, {row['pictures']} ×{row['scale']:g}: one process {row['seconds_of_one']:.2f} s, "
        f"{row['processes']} processes {row['seconds_of_several']:.2f} s, ratio {row['ratio']:.2f}"
    )


def usable_cores() -> int:
    """Return the number of cores on which this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _seconds(folder: Path, network: str, scale: float, count: int) -> float:
    python = [sys.executable, "-m"]
    start = (
        [] if count == 1 else ["torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m"]
    )
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            "moeisr_plugin.cli",
            "upscale",
            str(folder),
            "-s",
            f"{scale:g}",
            "-n",
            network,
            "-o",
            out,
        ]
        begin = time.perf_counter()
        done = subprocess.run(
            [*python, *start, *arguments, "--threads", "1", "--quiet"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - begin
    if done.returncode != 0:
        reason = next(iter(done.stderr.strip().splitlines()), f"status {done.returncode}")
        raise ValueError(f"{folder}: moeisr upscale failed: {reason}")
    return seconds
