"""Name temporary files by their writer, and remove those of killed processes.

A name is ``.HOST+PID-START+TOKEN.part``. START is the time at which the process started, because process ids
are reused. The file is also locked while it is written. The lock distinguishes machines of equal name on a
shared disk, and containers of one machine.
"""

import os
import re
import secrets
import shutil
import socket
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PART = ".part"
_NAME = re.compile(r"\.([\w.-]{1,64})\+(\d{1,10})-(\d{1,20})\+[0-9a-f]{12}\.part", re.ASCII)
_UNKNOWN = 0
"""Start time where the system does not give it."""


def temporary_path(folder: Path) -> Path:
    """Return a new hidden path in a folder, for a file or a folder of this process."""
    pid = os.getpid()
    return folder / f".{_host()}+{pid}-{_start_of(pid)}+{secrets.token_hex(6)}{PART}"


def lock(descriptor: int) -> None:
    """Lock an open temporary file or folder until it is closed, where the file system has locks."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep(folder: Path) -> None:
    """Delete the temporary files and folders of processes of this machine that no longer run.

    Those of running processes and of other machines stay. Errors of the file system are ignored.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(PART) and _is_abandoned(entry):
                _delete(entry)


def _is_abandoned(entry: "os.DirEntry[str]") -> bool:
    found = _NAME.fullmatch(entry.name)
    if found is None or found[1] != _host():
        return False
    if not (entry.is_file(follow_symlinks=False) or _is_folder(entry)):
        return False
    return not _runs(int(found[2]), int(found[3])) and not _is_locked(entry.path)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)


def _delete(entry: "os.DirEntry[str]") -> None:
    if _is_folder(entry):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(entry.path)


def _host() -> str:
    """Return the host name with the characters that a temporary name may have."""
    return re.sub(r"[^\w.-]", "_", socket.gethostname(), flags=re.ASCII)[:64] or "_"


def _runs(pid: int, start: int) -> bool:
    """Return whether the process with this id and start time may run."""
    if os.name != "posix":  # on Windows, os.kill ends the process
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        pass
    now = _start_of(pid)
    return now == start or _UNKNOWN in (now, start)


def _start_of(pid: int) -> int:
    """Return the start time of a process in clock ticks since the start of the system."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return _UNKNOWN
    fields = stat.rpartition(b") ")[2].split()  # the name before may contain spaces and parentheses
    return int(fields[19]) if fields[0] not in b"ZX" else -1  # a zombie has ended


def _is_locked(path: str) -> bool:
    """Return whether a process may be writing the file or folder."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # the file system has no locks
        return False
    finally:
        os.close(descriptor)
    return False
