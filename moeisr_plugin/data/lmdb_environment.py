"""Reading values of an LMDB from any process."""

import os
from pathlib import Path

import lmdb

# LMDB forbids opening an environment twice in a process, so its handle can only be kept process-wide.
_environments: dict[Path, tuple[int, lmdb.Environment]] = {}


def read_value(root: Path, key: str) -> bytes:
    """Reads one value; the environment is opened on the first one, again in each forked worker.

    Raises:
        ValueError: the LMDB is damaged, or the key is missing or empty.
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
    process, environment = _environments.get(root, (None, None))
    if environment is not None and process == os.getpid():
        return environment
    if environment is not None:
        environment.close()  # inherited through fork, for which LMDB vouches for nothing
    environment = _open(root)
    _environments[root] = os.getpid(), environment
    return environment


def _open(root: Path) -> lmdb.Environment:
    environment = lmdb.open(str(root), readonly=True, lock=False, readahead=False, create=False)
    # Reading past the end of the file would kill the process. Only deleting a value in the very
    # transaction that wrote it, which no picture LMDB sees, leaves a sound file shorter than its page count.
    expected = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    actual = (root / "data.mdb").stat().st_size
    if actual < expected:
        environment.close()
        raise ValueError(f"data.mdb is cut off: {actual} of {expected} bytes; copy or make it again")
    return environment
