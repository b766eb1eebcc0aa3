"""Allocator settings for training on a CPU."""

import ctypes
import os
import platform

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
