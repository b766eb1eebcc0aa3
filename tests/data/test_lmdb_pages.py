"""Damaged data.mdb files are refused before LMDB maps them."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import lmdb
import numpy as np
import pytest

from moeisr_plugin.data.lmdb_pages import check_database, check_size

KEYS = [b"key%03d" % i for i in range(500)]


def values(root):
    with (
        lmdb.open(str(root), readonly=True, lock=False, create=False) as environment,
        environment.begin() as t,
    ):
        return [t.get(key) for key in KEYS]


@pytest.fixture
def database(tmp_path):
    """A tree of depth 2, with values on leaves and on overflow pages, some of them deleted."""
    with lmdb.open(str(tmp_path), map_size=2**26) as environment:
        with environment.begin(write=True) as transaction:
            for i, key in enumerate(KEYS):
                transaction.put(key, bytes([i % 256]) * (5000 if i % 7 == 0 else 200))
        assert environment.stat()["depth"] == 2
        with environment.begin(write=True) as transaction:
            for key in KEYS[::3]:
                transaction.delete(key)
    return tmp_path / "data.mdb"


def test_valid_database_passes(database):
    check_size(database)
    check_database(database)


def test_empty_database_passes(tmp_path):
    lmdb.open(str(tmp_path)).close()
    check_database(tmp_path / "data.mdb")


def test_truncated_database_is_refused_by_its_size(database):
    data = database.read_bytes()
    for kept in [
        0,
        1,
        151,
        152,
        4096,
        4247,
        4248,
        8191,
        8192,
        len(data) // 2,
        len(data) - 4096,
        len(data) - 1,
    ]:
        database.write_bytes(data[:kept])
        for check in (check_size, check_database):
            with pytest.raises(ValueError, match=r"data\.mdb: is cut off.*; copy or make the LMDB again$"):
                check(database)


@pytest.mark.parametrize("content", [b"garbage" * 5000, bytes(9000), b"\x89PNG\r\n" + b"\xff" * 9000])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "data.mdb"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^\S*/data\.mdb: is not the data\.mdb of an LMDB; copy or make the LMDB again$"
    ):
        check_size(path)


def test_mutated_database_never_crashes_the_process(database):
    """Without the check, 21 of these 300 files end the process with SIGBUS."""
    data = np.fromfile(database, np.uint8).reshape(-1, 4096)
    tree = [i for i, page in enumerate(data) if i < 2 or page[10] in (1, 2)]  # meta, branch and leaf pages
    rng = np.random.default_rng(0)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if all(survives(database, mutated(data, tree, rng)) for _ in range(300)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def mutated(pages, tree, rng):
    """Return a copy with a few changed bytes in meta and tree pages, mostly in their first 160 bytes."""
    copy = pages.copy()
    for _ in range(rng.choice([1, 2, 5, 50])):
        page = rng.choice(tree[:2] + tree)
        copy[page, rng.integers(rng.choice([160, 4096]))] ^= rng.choice([1, 64, 128, 255])
    return copy


def survives(database: Path, pages) -> bool:
    """Return whether a database is refused with one line, or can be read."""
    database.write_bytes(pages.tobytes())
    try:
        check_database(database)
    except ValueError as error:
        return "\n" not in str(error)
    with suppress(lmdb.Error):
        values(database.parent)
    return True
