"""Writing files so that a path never holds half of one."""

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


def remove_partial_files(folder: Path) -> None:
    """Remove the halves of files that killed processes left; none may be writing there."""
    for part in folder.glob(f".*{PART}"):
        part.unlink(missing_ok=True)


@contextmanager
def prepared_folder(folder: Path) -> Iterator[None]:
    """Makes a folder, if need be, before much work is done whose results go there.

    After an error what was made is removed again, unless something was put into it.

    Raises:
        OSError: if files cannot be written there.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        yield
    except BaseException:
        with suppress(OSError):  # one that is not empty stays, and so do those above it
            for each in made:
                each.rmdir()
        raise
