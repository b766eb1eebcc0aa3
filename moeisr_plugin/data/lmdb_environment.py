"""Reading values of an LMDB from any process."""

import os
from pathlib import Path

import lmdb

from moeisr_plugin.data.lmdb_pages import check_size

# LMDB forbids opening an environment twice in a process, so its handle can only be kept process-wide.
_environments: dict[Path, tuple[tuple[int, int, int], lmdb.Environment]] = {}


def read_value(root: Path, key: str) -> bytes:
    """Reads one value; the environment is opened on the first one, again in each forked worker.

    Args:
        root: the LMDB's folder; `lmdb_pages.check_database` has passed its data.mdb.
        key: the key, kept as UTF-8.

    Raises:
        ValueError: the LMDB is cut off or damaged, or the key is missing or empty.
        OSError: the LMDB is gone.
    """
    try:
        with _environment(root.resolve()).begin() as transaction:
            value = transaction.get(key.encode())
    except lmdb.Error as error:
        raise ValueError(f"the LMDB cannot be read ({error}); copy or make it again") from error
    if not value:
        raise ValueError(f"key {key!r} is {'missing' if value is None else 'empty'}; make the LMDB again")
    return value


def _environment(root: Path) -> lmdb.Environment:
    file = (root / "data.mdb").stat()
    identity = os.getpid(), file.st_dev, file.st_ino
    known, environment = _environments.get(root, (None, None))
    if environment is not None:
        if known == identity:
            return environment
        environment.close()  # the file was replaced, or this process forked, after which LMDB will not do
    check_size(root / "data.mdb")  # reading past the end of a mapped file would kill the process
    environment = lmdb.open(str(root), readonly=True, lock=False, readahead=False, create=False)
    _environments[root] = identity, environment
    return environment
