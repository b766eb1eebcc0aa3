"""Writing files so that a path never holds half of one."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PART = ".part"


@contextmanager
def appearing_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name once it is complete and on the disk; until then it has a hidden one."""
    part = path.with_name(f".{secrets.token_hex(6)}{PART}")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove the halves of files that killed processes left; none may be writing there."""
    for part in folder.glob(f".*{PART}"):
        part.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Make a folder, if need be, before much work is done whose results go there.

    Raises:
        OSError: if files cannot be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
