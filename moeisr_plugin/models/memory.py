"""Memory of a training: allocator settings on a CPU, and the peak on a GPU."""

import ctypes
import os
import platform

import torch

# Parameters of mallopt in glibc, see malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = -1


def keep_freed_memory() -> None:
    """Make glibc keep freed memory in this process instead of returning it to the system.

    By default glibc returns large blocks immediately. The hidden states of a batch are large blocks, and
    mapping and clearing their pages again takes a third of the training time. The process then keeps its peak
    memory. Without glibc, or if environment variables configure its allocator, nothing changes.
    """
    is_configured = any(name.startswith("MALLOC_") for name in os.environ)
    is_configured |= "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    if is_configured or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)


def peak_gpu_memory(device: torch.device) -> dict[str, float]:
    """Return ``gpu_memory_gb``, the largest memory of tensors since the last call; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return {"gpu_memory_gb": peak / 1e9}
