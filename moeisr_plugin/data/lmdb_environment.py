"""Reading LMDB values in any process."""

import os
from pathlib import Path

import lmdb

from moeisr_plugin.data.lmdb_pages import check_size

# LMDB forbids opening an environment twice in one process, so the handles are global.
_environments: dict[Path, tuple[tuple[int, int, int], lmdb.Environment]] = {}


def read_value(root: Path, key: str) -> bytes:
    """Read one value. The first call in a process, forked workers included, opens the environment.

    Args:
        root: folder of the LMDB, checked by `lmdb_pages.check_database`.
        key: the key, stored as UTF-8.

    Raises:
        ValueError: the LMDB is truncated or damaged, or the key is missing or has no value.
        OSError: the LMDB does not exist any more.
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
    opened_identity, environment = _environments.get(root, (None, None))
    if environment is not None:
        if opened_identity == identity:
            return environment
        environment.close()  # the file was replaced, or the process forked, which invalidates the handle
    check_size(root / "data.mdb")  # a read past the end of the mapped file would kill the process
    environment = lmdb.open(str(root), readonly=True, lock=False, readahead=False, create=False)
    _environments[root] = identity, environment
    return environment
