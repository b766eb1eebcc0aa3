"""Memory that a training on a CPU frees and needs again in every iteration."""

import ctypes
import os
import platform

# Of glibc's mallopt, see malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = -1


def keep_freed_memory() -> None:
    """Lets this process keep what it frees, instead of getting it anew from the system, page by page.

    glibc gives large blocks back at once. A batch's hidden states are large blocks, and to have their pages
    mapped and cleared takes a third of the time of training on them. The process then holds on to the most
    that it has needed. Without glibc, and where the environment sets up glibc's allocator, nothing changes.
    """
    set_up = any(name.startswith("MALLOC_") for name in os.environ)
    set_up |= "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    if set_up or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
