"""The tool that makes LMDBs: messages and exit status."""

import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from picture_files import noise, write_folder

from moeisr_plugin.data import lmdb_writing
from moeisr_plugin.data.storage import LmdbPictures

TOOL = Path(__file__).parents[2] / "tools" / "create_lmdb.py"


@pytest.fixture
def create_lmdb():
    spec = importlib.util.spec_from_file_location("create_lmdb", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *argv: module.main([str(arg) for arg in argv])


@pytest.fixture
def folder(tmp_path):
    return write_folder(
        tmp_path / "p", {"a.png": noise(20, 30), "b.b.png": noise(20, 20, channels=4), "s/c.png": noise(9, 9)}
    )


def test_lmdb_is_written_and_losses_are_reported(create_lmdb, folder, tmp_path, capsys):
    assert create_lmdb(folder, "-o", tmp_path / "p.lmdb", "--recursive") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}/p.lmdb: 3 pictures, written and verified\n"
    assert err.splitlines() == [
        "create_lmdb: alpha was dropped from 1 pictures",
        "create_lmdb: 1 keys contain a dot or are not ASCII; datasets of the toolbox cannot read them",
    ]
    stored = LmdbPictures(tmp_path / "p.lmdb")
    assert stored.keys == ["a", "b.b", "s/c"]
    np.testing.assert_array_equal(stored.read(0), noise(20, 30))


def test_sub_images_overlap_by_half_by_default(create_lmdb, folder, tmp_path):
    assert create_lmdb(folder, "-o", tmp_path / "p.lmdb", "--crop-size", 20) == 0
    stored = LmdbPictures(tmp_path / "p.lmdb")
    assert stored.keys == ["a_s001", "a_s002", "b.b_s001"]
    np.testing.assert_array_equal(stored.read(1), noise(20, 30)[:, 10:])


def test_bad_pictures_are_reported_and_skipped_on_request(create_lmdb, folder, tmp_path, capsys):
    Path(folder, "b.b.png").write_bytes(b"")
    assert create_lmdb(folder, "-o", tmp_path / "p.lmdb") == 2
    err = capsys.readouterr().err
    assert err.startswith(f"create_lmdb: {folder}/b.b.png: ")
    assert err.endswith("; or add --skip-bad-pictures\n")
    assert create_lmdb(folder, "-o", tmp_path / "p.lmdb", "--skip-bad-pictures") == 0
    skipped, count = capsys.readouterr().err.splitlines()
    assert skipped.startswith(f"create_lmdb: {folder}/b.b.png: ")
    assert count == "create_lmdb: 1 bad pictures were skipped"
    assert LmdbPictures(tmp_path / "p.lmdb").keys == ["a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "-o", "p.lmdb"], "nowhere: no such folder"),
        (["empty", "-o", "p.lmdb"], "empty: no picture found"),
        (["p", "-o", "p2"], "p2: an LMDB's name must end in .lmdb"),
        (["p", "-o", "there.lmdb"], "there.lmdb: exists already"),
        (["p", "-o", "p/a.png/p.lmdb"], "a.png"),
        (["p", "p", "-o", "p.lmdb"], "would both be stored as 'a'"),
        (["p", "-o", "p.lmdb", "--step", "3"], "--step and --thresh-size need sub-images; add --crop-size"),
        (["p", "-o", "p.lmdb", "--crop-size", "0"], "crop_size is 0"),
        (
            ["p", "-o", "p.lmdb", "--crop-size", "21"],
            "a.png: 20x30 pixels are too few for a sub-image of 21x21",
        ),
    ],
)
def test_errors_are_reported_in_one_line(
    create_lmdb, folder, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "there.lmdb"):
        Path(name).mkdir()
    assert create_lmdb(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("create_lmdb: ")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("p.lmdb").exists()
    with pytest.raises((ValueError, OSError)):
        create_lmdb(*arguments, "--debug")


@pytest.mark.usefixtures("heard_interrupts")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_explains_how_to_continue(sent, create_lmdb, folder, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(lmdb_writing, "_verify", lambda *_: signal.raise_signal(sent))
        assert create_lmdb(folder, "-o", tmp_path / "p.lmdb") == 130
    assert capsys.readouterr().err == "create_lmdb: interrupted; run the command again to continue\n"
    assert sorted(os.listdir(tmp_path)) == ["p", "p.lmdb.partial"]
    assert create_lmdb(folder, "-o", tmp_path / "p.lmdb") == 0
    assert sorted(os.listdir(tmp_path)) == ["p", "p.lmdb"]


def test_full_disk_is_reported_in_one_line(create_lmdb, folder, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise lmdb_writing.lmdb.DiskError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lmdb_writing, "_put", full)
        assert create_lmdb(folder, "-o", tmp_path / "p.lmdb") == 2
    err = capsys.readouterr().err
    assert err == (
        f"create_lmdb: {tmp_path}/p.lmdb.partial: cannot be written (No space left on device); "
        "run the command again to resume\n"
    )
    assert create_lmdb(folder, "-o", tmp_path / "p.lmdb") == 0
