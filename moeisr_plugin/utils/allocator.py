"""Settings of glibc's allocator, which by default maps and clears the pages of each large block anew."""

import ctypes
import os
import platform

# Parameters of mallopt in glibc, see malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1


def keep_freed_memory(largest: int | None = None) -> None:
    """Make glibc keep freed memory in this process instead of returning it to the system.

    By default glibc returns large blocks immediately. The hidden states of a batch, or of a tile of a
    picture, are large blocks, and mapping and clearing their pages again takes up to a third of the time. The
    process then keeps its peak memory. Without glibc, or if environment variables configure its allocator,
    nothing changes.

    Args:
        largest: bytes of the largest block that is kept. Larger ones are returned immediately. None keeps
            all. glibc before 2.35 accepts at most 32 MiB, and keeps its default for more.
    """
    if not _is_adjustable():
        return
    libc = ctypes.CDLL(None)
    if largest is None:
        libc.mallopt(_MMAP_MAX, 0)
    else:
        libc.mallopt(_MMAP_THRESHOLD, largest)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)


def return_freed_memory() -> None:
    """Return freed memory that the process kept to the system, where it is available to other uses."""
    if _is_adjustable():
        ctypes.CDLL(None).malloc_trim(0)


def _is_adjustable() -> bool:
    is_configured = any(name.startswith("MALLOC_") for name in os.environ)
    is_configured |= "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    return not is_configured and platform.libc_ver()[0] == "glibc"
