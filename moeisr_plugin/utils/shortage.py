"""Recognise shortages of memory and disk space, and describe them in one line with the remedy."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

MEMORY_REMEDY = "close other programs, or give a smaller picture"
GPU_REMEDY = "add --device cpu"

_GPU = re.compile(r"\b(CUDA|HIP|MPS|XPU)\b.*out of memory|GPU.*out of memory", re.IGNORECASE | re.DOTALL)
_MEMORY = re.compile(
    "|".join(
        (
            r"could not (create|execute) a primitive",  # oneDNN
            r"could not create a memory",
            r"(can't|cannot|could not|couldn't|unable to|failed to) (m?alloc|mmap|allocate|map segment)",
            r"(not enough|insufficient|out of) memory",
            r"\bbad_alloc\b",
            r"\bE?NOMEM\b|\w+_MEM(ORY)?_ERROR",
            r"Error -4 while",  # zlib's Z_MEM_ERROR
            r"memory (allocation|exhausted)|allocation (failed|failure)|MemoryError",
            r"can't start new thread",  # no room for its stack
        )
    ),
    re.IGNORECASE,
)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskShortageError(OSError):
    """A file is too large for the disk, the quota or a limit; the message is one line with the remedy."""


def memory_shortage(error: BaseException, remedy: str | None = None) -> str | None:
    """Return a line on the shortage of memory that an exception reports, or None for other exceptions.

    PyTorch, oneDNN, OpenCV, Pillow and zlib report it by exceptions of various types.

    Args:
        error: the exception.
        remedy: what helps. By default the remedy for enlarging pictures.
    """
    for each in _chain(error):
        text = str(each)
        if type(each).__name__ == "OutOfMemoryError" or _GPU.search(text):
            return f"the GPU is out of memory; {remedy or GPU_REMEDY}"
        is_shortage = isinstance(each, MemoryError) or getattr(each, "errno", None) == errno.ENOMEM
        if is_shortage or (not isinstance(each, ValueError) and _MEMORY.search(text)):
            return f"out of memory; {remedy or MEMORY_REMEDY}"
    return None


@contextmanager
def clearer_disk_error(path: Path, written: Path) -> Iterator[None]:
    """Turn the errors of a full disk into `DiskShortageError` with the path and the space.

    Args:
        path: the file as the user knows it.
        written: the file that is written; its size is in the message.
    """
    try:
        yield
    except Exception as error:
        code = next((each.errno for each in _chain(error) if isinstance(each, OSError)), None)
        if code not in _DISK:
            raise
        raise DiskShortageError(f"{path}: {_disk_shortage(code, path.parent, written)}") from error


def _disk_shortage(code: int, folder: Path, written: Path) -> str:
    try:
        size = f" after {in_bytes(written.stat().st_size)}"
    except OSError:
        size = ""
    if code == errno.EDQUOT:
        return f"your disk quota is used up{size}; delete files, or choose another folder"
    if code == errno.EFBIG:
        limit = _largest_file()
        if limit is not None:
            return f"is larger than {in_bytes(limit)}, the limit of a file (ulimit -f); raise the limit"
        return f"is too large for the file system{size}; choose a folder on another disk"
    usage = shutil.disk_usage(folder)
    return (
        f"the disk is full{size} ({in_bytes(usage.free)} of {in_bytes(usage.total)} free); delete files, or "
        "choose a folder on another disk"
    )


def _largest_file() -> int | None:
    """Return the limit that ``ulimit -f`` sets, if any."""
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def in_bytes(number: float) -> str:
    """Return a number of bytes in a unit that shows three digits, such as ``1.50 GB``."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        del units[0]
    return f"{number:.3g} {units[0]}" if number < 999.5 else f"{number:.0f} {units[0]}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, its cause, the cause of that, and so on."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
