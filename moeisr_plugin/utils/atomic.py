"""Atomic file writes: a path holds a complete file or none."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from moeisr_plugin.utils import leftovers
from moeisr_plugin.utils.regular_files import require_replaceable
from moeisr_plugin.utils.shortage import clearer_disk_error


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing under a hidden name, and rename it to `path` once it is complete and synced.

    An error removes the hidden file and leaves `path` as it was. Hidden files that killed processes left in
    the folder are removed.

    Raises:
        FileExistsError: the path is a folder, a pipe, a device or a link to nothing.
        OSError: the file cannot be written. If the disk is full, the message states the free space.
    """
    require_replaceable(path)
    leftovers.sweep(path.parent)
    part = leftovers.temporary_path(path.parent)
    try:
        with clearer_disk_error(path, part), open(part, "xb") as file:
            leftovers.lock(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Create a hidden folder and remove it at the end. Also remove those of killed processes."""
    leftovers.sweep(parent)
    stage = leftovers.temporary_path(parent)
    stage.mkdir()
    try:
        descriptor = os.open(stage, os.O_RDONLY) if os.name == "posix" else None
        try:
            if descriptor is not None:
                leftovers.lock(descriptor)
            yield stage
        finally:
            if descriptor is not None:
                os.close(descriptor)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a staging folder where the system keeps temporary files.

    Raises:
        ValueError: that place is not writable; one line with the remedy.
    """
    parent = Path(tempfile.gettempdir())
    if not os.access(parent, os.W_OK):
        raise ValueError(f"{parent}: is not writable; set TMPDIR to a folder for temporary files")
    with staging_folder(parent) as folder:
        yield folder


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
