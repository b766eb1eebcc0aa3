"""Measure time, peak memory and the share of time in matrix products."""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile

from moeisr_plugin.evaluation.clock import now

# Operators whose own time is that of a matrix product or convolution. Operators that only call these
# (aten::linear, aten::conv2d) are left out, because their own time is overhead.
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
        "onednn::qlinear_pointwise",
        "onednn::qconv2d_pointwise",
    }
)


def alternating(count: int, repeats: int) -> Iterator[list[int]]:
    """Yield the order of contenders in each repeat. It alternates, so that a drift affects all equally."""
    for repeat in range(repeats):
        yield list(range(count))[:: -1 if repeat % 2 else 1]


def best_seconds(work: Callable[[], object], device: torch.device, *, repeats: int = 7) -> float:
    """Return the minimum time of a call in seconds, after one warm-up call."""
    work()
    seconds = []
    for _ in range(repeats):
        start = now(device)
        work()
        seconds.append(now(device) - start)
    return min(seconds)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """Return the peak growth of memory during a call in bytes.

    On a GPU, this is allocated memory. On a CPU, it is resident memory. None if it cannot be measured.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    try:
        ctypes.CDLL(None).malloc_trim(0)  # free but resident memory would hide growth
        reset.write_text("5", encoding="ascii")  # resets the high-water mark
    except (OSError, AttributeError):  # no Linux, no glibc, or no permission
        work()
        return None
    before = _resident(status, "VmRSS")
    work()
    return _resident(status, "VmHWM") - before


def matrix_share(work: Callable[[], object]) -> float:
    """Return the share of CPU time that a call spends in matrix products, from the profiler.

    Both times come from the same profiled call, so that other load affects them equally. Profiling costs each
    operator one to two microseconds, which count as overhead.
    """
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = perf_counter()
        work()
        seconds = perf_counter() - start
    averages = profiler.key_averages()
    microseconds = sum(each.self_cpu_time_total for each in averages if each.key in MATRIX_OPERATORS)
    return microseconds / 1e6 / seconds


def _resident(status: Path, field: str) -> int:
    """Return a field of the process status in bytes. The kernel reports kibibytes."""
    (line,) = [each for each in status.read_text(encoding="ascii").splitlines() if each.startswith(field)]
    return int(line.split()[1]) * 1024
