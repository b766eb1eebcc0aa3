"""Atomic file writes: a path holds a complete file or none."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PART = ".part"


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing under a hidden name, and rename it to `path` once it is complete and synced.

    An error removes the hidden file and leaves `path` as it was.
    """
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


def remove_partial_files(folder: Path) -> None:
    """Delete the partial files of killed processes.

    No process may be writing to the folder.
    """
    for part in folder.glob(f".*{PART}"):
        part.unlink(missing_ok=True)


@contextmanager
def prepared_folder(folder: Path) -> Iterator[None]:
    """Create a folder for results and check that it is writable, before the work starts.

    After an error, remove the created folders that are empty.

    Raises:
        OSError: the folder cannot be created or written to.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        yield
    except BaseException:
        with suppress(OSError):  # a folder that is not empty stays, with its parents
            for each in made:
                each.rmdir()
        raise
