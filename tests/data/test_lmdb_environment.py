"""Reading an LMDB from any process, and the errors of damaged ones."""

import os
import pickle
from pathlib import Path

import lmdb
import numpy as np
import pytest
from picture_files import encode, noise, put, write_lmdb

from moeisr_plugin.data.arbitrary_scale_dataset import ArbitraryScaleDataset
from moeisr_plugin.data.lmdb_environment import read_value
from moeisr_plugin.data.storage import LmdbPictures


@pytest.fixture
def opened(monkeypatch):
    """The folders that LMDB opened, in order."""
    paths = []
    monkeypatch.setattr(
        lmdb, "open", lambda path, **options: paths.append(path) or lmdb.Environment(path, **options)
    )
    return paths


def passes_in_a_fork(check) -> bool:
    child = os.fork()
    if child == 0:
        try:
            passed = check()
        except BaseException:
            passed = False
        os._exit(0 if passed else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_each_process_opens_the_lmdb_once(tmp_path, monkeypatch, opened):
    picture = noise(8, 8)
    root = write_lmdb(tmp_path / "p.lmdb", {"a": picture})
    opened.clear()
    (tmp_path / "sub").mkdir()
    first, second = LmdbPictures(root), LmdbPictures(tmp_path / "sub" / ".." / "p.lmdb")
    assert opened == []
    np.testing.assert_array_equal(first.read(0), second.read(0))
    assert len(opened) == 1

    def grandchild_reads():
        return np.array_equal(second.read(0), picture) and len(opened) == 3

    def child_reads():
        same = np.array_equal(first.read(0), picture) and np.array_equal(second.read(0), picture)
        return same and len(opened) == 2 and passes_in_a_fork(grandchild_reads)

    assert passes_in_a_fork(child_reads)
    np.testing.assert_array_equal(first.read(0), picture)
    assert len(opened) == 1


def test_pickled_dataset_has_no_handle(tmp_path):
    """Spawned workers receive a small pickle of a dataset in use."""
    root = write_lmdb(tmp_path / "p.lmdb", {"a": noise(40, 40)})
    dataset = ArbitraryScaleDataset(
        {"dataroot_gt": root, "io_backend": {"type": "lmdb"}, "lr_size": 8, "sample_q": 10}
    )
    expected = dataset.sample(0, seed=1)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 40 * 40
    np.testing.assert_array_equal(pickle.loads(pickled).sample(0, seed=1)["lq"], expected["lq"])


def test_replaced_lmdb_is_reopened(tmp_path):
    root = Path(write_lmdb(tmp_path / "p.lmdb", {"a": noise(8, 8)}))
    assert LmdbPictures(root).read(0).shape == (8, 8, 3)
    root.rename(tmp_path / "old.lmdb")
    write_lmdb(root, {"a": noise(5, 5)})
    assert LmdbPictures(root).read(0).shape == (5, 5, 3)
    assert LmdbPictures(tmp_path / "old.lmdb").read(0).shape == (8, 8, 3)


def test_keys_may_have_any_unicode_characters(tmp_path):
    root = Path(write_lmdb(tmp_path / "p.lmdb", {"a": noise(8, 8)}))
    put(root, "東京".encode(), encode(noise(5, 6)))
    (root / "meta_info.txt").write_text("a.png (8,8,3) 1\n東京.png (5,6,3) 1\n\n", encoding="utf-8")
    assert LmdbPictures(root).keys == ["a", "東京"]
    np.testing.assert_array_equal(LmdbPictures(root).read(1), noise(5, 6))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "key 'a' is missing; make the LMDB again"),
        (b"", "key 'a' is empty; make the LMDB again"),
        (b"garbage", "key 'a': is not a picture of a known format; .* make the LMDB again"),
        (encode(noise(30, 30))[:900], r"key 'a': is damaged or incomplete \(.*\); .* make the LMDB again"),
        (encode(noise(4, 5)), "key 'a' holds 4x5 pixels where meta_info.txt says 30x20; make the LMDB again"),
    ],
)
def test_bad_value_is_named(tmp_path, value, message):
    root = write_lmdb(tmp_path / "p.lmdb", {"a": noise(30, 20), "b": noise(30, 20)})
    put(root, b"a", value)
    with pytest.raises(ValueError, match=f"^{root}/a.png: {message}$") as caught:
        LmdbPictures(root).read(0)
    assert "\n" not in str(caught.value)
    assert LmdbPictures(root).read(1).shape == (30, 20, 3)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (None, "no such file; make the LMDB again or correct the dataroot"),
        (b"", "lists no picture; make the LMDB again"),
        (b" \n\n", "lists no picture; make the LMDB again"),
        (b"a.png (4,4,3) 1\nb.png\n", "line 2 is 'b.png', not 'name.png (h,w,c) level'; make the LMDB again"),
        (b"a.png (4,4) 1\n", "line 1 is 'a.png (4,4) 1', not .*; make the LMDB again"),
        (b"a (4,4,3) 1\n", r"line 1 is 'a (4,4,3) 1', not .*; make the LMDB again"),
        (b"a.png (4,-4,3) 1 2\n", "line 1 is .*, not .*; make the LMDB again"),
        (b"\xff\xfe\x00a.png", "is not UTF-8 text; make the LMDB again"),
    ],
)
def test_bad_listing_is_named(tmp_path, listing, message):
    root = write_lmdb(tmp_path / "p.lmdb", {"a": noise(4, 4)})
    path = Path(root, "meta_info.txt")
    path.unlink()
    if listing is not None:
        path.write_bytes(listing)
    message = message.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=f"^{path}: {message}$") as caught:
        LmdbPictures(root)
    assert "\n" not in str(caught.value)


def test_other_folders_are_refused(tmp_path):
    for name, message in [
        ("p", r"/p: the name of an LMDB must end in \.lmdb; rename it or correct the dataroot$"),
        ("p.lmdb", r"/p\.lmdb/data\.mdb: no such file; make the LMDB again or correct the dataroot$"),
        ("nowhere.lmdb", r"/nowhere\.lmdb/data\.mdb: no such file"),
    ]:
        if not name.startswith("nowhere"):
            (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=message):
            LmdbPictures(tmp_path / name)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99, None])
def test_damaged_database_is_refused_before_opening(tmp_path, kept, opened):
    root = write_lmdb(tmp_path / "p.lmdb", {"a": noise(100, 100), "b": noise(100, 100)})
    path = Path(root, "data.mdb")
    data = path.read_bytes()
    path.write_bytes(b"garbage" * 5000 if kept is None else data[: int(kept * len(data))])
    opened.clear()
    for read in (lambda: LmdbPictures(root), lambda: read_value(Path(root), "a")):
        with pytest.raises(ValueError, match=rf"^{path}: .*; copy or make the LMDB again$") as caught:
            read()
        assert "\n" not in str(caught.value)
    assert opened == []


def test_deleted_database_is_named(tmp_path):
    pictures = LmdbPictures(write_lmdb(tmp_path / "p.lmdb", {"a": noise(4, 4)}))
    (tmp_path / "p.lmdb" / "data.mdb").unlink()
    with pytest.raises(ValueError, match=r"^\S*/p\.lmdb/a\.png: .*No such file.*data\.mdb"):
        pictures.read(0)
