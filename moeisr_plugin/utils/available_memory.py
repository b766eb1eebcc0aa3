"""Memory that this process can still allocate: of the system, of its control group, and of its limits."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

try:
    import resource
except ImportError:  # Windows
    resource = None

_KIB = 2**10
_MOUNTS = {"": Path("/sys/fs/cgroup"), "memory": Path("/sys/fs/cgroup/memory")}
"""Where version 2 and version 1 of control groups are mounted, by the controllers in /proc/self/cgroup."""
_LIMIT_AND_USAGE = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_memory() -> int | None:
    """Return the bytes that this process can still allocate, swap included, or None if unknown.

    It is the minimum over the system, the control groups, ``ulimit -v`` and ``ulimit -d``. Only Linux reports
    all of them.
    """
    found = [*_of_system(), *_of_control_groups(), *_of_limits()]
    return max(0, min(found)) if found else None


def available_addresses() -> int | None:
    """Return the bytes of address space that ``ulimit -v`` leaves to this process; None without a limit."""
    if resource is None or sys.platform != "linux":
        return None
    return _left_of_limit(resource.RLIMIT_AS, "VmSize")


def _of_system() -> Iterator[int]:
    info = _numbers(Path("/proc/meminfo"))
    if "MemAvailable" in info:
        yield (info["MemAvailable"] + info.get("SwapFree", 0)) * _KIB


def _of_control_groups() -> Iterator[int]:
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, group = line.split(":", 2)
        for kind, mount in _MOUNTS.items():
            if kind in controllers.split(","):
                # A limit of a parent counts, too. In a container, its group is mounted as the root.
                for parent in (PurePosixPath(group), *PurePosixPath(group).parents):
                    yield from _left_in(mount / parent.relative_to("/"), *_LIMIT_AND_USAGE[kind])


def _left_in(folder: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    """Yield the limit minus the usage, in which the file cache does not count, if there is a limit."""
    values = [_text(folder / name).strip() for name in (limit, usage)]
    if all(value.isdigit() for value in values):
        yield int(values[0]) - int(values[1]) + _numbers(folder / "memory.stat").get(cache, 0)


def _of_limits() -> Iterator[int]:
    if resource is None or sys.platform != "linux":
        return
    for number, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        left = _left_of_limit(number, used)
        if left is not None:
            yield left


def _left_of_limit(number: int, used: str) -> int | None:
    assert resource is not None
    limit = resource.getrlimit(number)[0]
    status = _numbers(Path("/proc/self/status"))
    return limit - status[used] * _KIB if limit != resource.RLIM_INFINITY and used in status else None


def _numbers(path: Path) -> Mapping[str, int]:
    """Read lines of a name and a number, such as ``VmSize:   1234 kB``."""
    parts = (line.replace(":", " ").split() for line in _text(path).splitlines())
    return {part[0]: int(part[1]) for part in parts if len(part) > 1 and part[1].isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
