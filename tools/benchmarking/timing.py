"""Time, memory, and how much of the time goes into products of matrices."""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile

from moeisr_plugin.evaluation.clock import now

# Operators whose own time is that of a product of matrices or a convolution. Operators that only call these
# (aten::linear, aten::conv2d) are left out: their own time is overhead.
MATRIX_OPERATORS = frozenset(
    {
        "aten::mm",
        "aten::addmm",
        "aten::_addmm_activation",
        "aten::bmm",
        "aten::baddbmm",
        "aten::mkldnn_convolution",
        "aten::_slow_conv2d_forward",
        "aten::_nnpack_spatial_convolution",
        "mkldnn::_linear_pointwise",
        "mkldnn::_convolution_pointwise",
    }
)


def alternating(count: int, repeats: int) -> Iterator[list[int]]:
    """The order of contenders in each repeat: there and back, so that a drift hits all alike."""
    for repeat in range(repeats):
        yield list(range(count))[:: -1 if repeat % 2 else 1]


def best_seconds(work: Callable[[], object], device: torch.device, *, repeats: int = 7) -> float:
    """The least seconds a call takes, after one to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        start = now(device)
        work()
        seconds.append(now(device) - start)
    return min(seconds)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """By how much a call's memory grows at most: allocated on a GPU, else resident; None where not known."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    try:
        ctypes.CDLL(None).malloc_trim(0)  # memory that is free but resident would hide growth
        reset.write_text("5", encoding="ascii")  # the highest mark starts anew
    except (OSError, AttributeError):  # no Linux, no glibc, or no permission
        work()
        return None
    before = _resident(status, "VmRSS")
    work()
    return _resident(status, "VmHWM") - before


def matrix_share(work: Callable[[], object]) -> float:
    """The share of a call's time on a processor that products of matrices take, as the profiler sees them.

    Their own time is summed and divided by the time of the same, profiled call, so that a busy machine slows
    both. Profiling itself costs each operator a microsecond or two, which is counted as overhead.
    """
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = perf_counter()
        work()
        seconds = perf_counter() - start
    averages = profiler.key_averages()
    microseconds = sum(each.self_cpu_time_total for each in averages if each.key in MATRIX_OPERATORS)
    return microseconds / 1e6 / seconds


def _resident(status: Path, field: str) -> int:
    """A field of the process's status, in bytes; the kernel tells kibibytes."""
    (line,) = [each for each in status.read_text(encoding="ascii").splitlines() if each.startswith(field)]
    return int(line.split()[1]) * 1024
