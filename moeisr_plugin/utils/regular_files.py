"""Refuse what is no file, as input or in place of an output.

Opening a pipe may wait for ever, and a device may never end. Replacing one by a file would break the programs
that use it.
"""

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def special_kind(path: str | os.PathLike[str]) -> str | None:
    """Return what a path is, such as "a pipe", or None for files and folders.

    Raises:
        OSError: there is nothing at the path, or it cannot be reached.
    """
    mode = os.stat(path).st_mode
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)


def obstacle(path: str | os.PathLike[str]) -> str | None:
    """Return what is at a path in place of a file, such as "a pipe"; None for a file, or if nothing is there.

    Raises:
        OSError: the path cannot be reached.
    """
    try:
        return "a folder" if os.path.isdir(path) else special_kind(path)
    except OSError as error:
        if not os.path.islink(path):
            if error.errno == errno.ENOENT:
                return None
            raise
        if error.errno == errno.ELOOP:
            return "a symbolic link that leads to itself"
        if error.errno == errno.ENOENT:
            return f"a symbolic link to {os.readlink(path)}, which does not exist"
        raise


def require_replaceable(path: str | os.PathLike[str]) -> None:
    """Raise FileExistsError if a path is neither free nor a file that may be replaced.

    Raises:
        OSError: the path cannot be reached.
    """
    kind = obstacle(path)
    if kind is not None:
        raise FileExistsError(errno.EEXIST, f"is {kind}", os.fspath(path))


def require_file(path: str | os.PathLike[str]) -> None:
    """Raise ValueError, in one line without the path, if a path is a pipe, a socket or a device.

    Raises:
        OSError: there is nothing at the path, or it cannot be reached.
    """
    kind = special_kind(path)
    if kind is not None:
        raise ValueError(f"is {kind}, not a file; save its content to a file first")


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a file in UTF-8.

    Raises:
        ValueError: the path is a pipe, a socket or a device, or the file is not UTF-8.
        OSError: the file cannot be read.
    """
    try:
        require_file(path)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    return Path(path).read_text(encoding="utf-8")
