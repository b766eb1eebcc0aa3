"""Temporary files of killed processes are removed, and no others."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

from moeisr_plugin.utils import leftovers
from moeisr_plugin.utils.atomic import atomic_write, staging_folder

WRITER = """
import signal, sys
from pathlib import Path
from moeisr_plugin.utils.atomic import atomic_write, staging_folder
with staging_folder(Path(sys.argv[1])) as stage, atomic_write(Path(sys.argv[1], "a.png")) as file:
    (stage / "inside").touch()
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    signal.pause()
"""


@pytest.fixture
def writer(tmp_path):
    """A process that has half written a file and a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        yield process
        process.kill()


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


def write(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"whole")


def test_the_next_write_removes_what_a_killed_process_left(writer, tmp_path):
    assert len(parts(tmp_path)) == 2
    writer.kill()
    writer.wait()
    assert len(parts(tmp_path)) == 2
    write(tmp_path / "b.png")
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]


def test_files_of_a_running_process_stay(writer, tmp_path):
    before = parts(tmp_path)
    write(tmp_path / "b.png")
    writer.send_signal(signal.SIGSTOP)
    leftovers.sweep(tmp_path)
    assert parts(tmp_path) == before
    writer.send_signal(signal.SIGCONT)


def test_a_lock_protects_a_file_whose_process_is_not_visible_here(tmp_path):
    path = tmp_path / leftovers.temporary_path(tmp_path).name.replace(f"+{os.getpid()}-", "+999999999-")
    with open(path, "xb") as file:
        leftovers.lock(file.fileno())
        leftovers.sweep(tmp_path)
        assert path.exists()
    leftovers.sweep(tmp_path)
    assert not path.exists()


def test_files_of_other_machines_and_of_other_programs_stay(writer, tmp_path, monkeypatch):
    writer.kill()
    writer.wait()
    part = next(name for name in parts(tmp_path) if (tmp_path / name).is_file())
    host, process, token = part.removesuffix(".part").removeprefix(".").rsplit("+", 2)
    alike = [
        f"{host}+{process}+{token}.part",
        f".{host}+{process}+{token}.part.bak",
        f".{host}+{process}.part",
        f".{host}+{process}+{token}0.part",
        f".{host}x+{process}+{token}.part",
        f".{host}+0x1-1+{token}.part",
        ".0123456789ab.part",
        ".part",
        "download.part",
    ]
    for name in alike:
        (tmp_path / name).touch()
    (tmp_path / f".{host}+{process}+{'0' * 12}.part").symlink_to("download.part")
    leftovers.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*alike, f".{host}+{process}+{'0' * 12}.part"]
    )
    theirs = tmp_path / part.replace(host, "elsewhere")
    theirs.touch()
    leftovers.sweep(tmp_path)
    assert theirs.exists()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    leftovers.sweep(tmp_path)
    assert not theirs.exists()


def test_a_reused_process_id_is_not_the_writer(tmp_path):
    own = leftovers.temporary_path(tmp_path)
    start = leftovers._start_of(os.getpid())
    assert start > 0
    former = tmp_path / own.name.replace(f"-{start}+", f"-{start - 1}+")
    for path in (own, former):
        path.touch()
    leftovers.sweep(tmp_path)
    assert (own.exists(), former.exists()) == (True, False)


@pytest.mark.parametrize("host", ["ein Rechner/ä+b", "ä" * 200, ""])
def test_any_host_name_makes_a_short_name_that_is_swept(host, tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: host)
    path = leftovers.temporary_path(tmp_path)
    assert len(os.fsencode(path.name)) <= 255
    monkeypatch.setattr(leftovers, "_runs", lambda pid, start: False)
    path.touch()
    leftovers.sweep(tmp_path)
    assert not path.exists()


def test_a_folder_that_is_missing_or_unreadable_is_no_error(tmp_path):
    leftovers.sweep(tmp_path / "none")
    (tmp_path / "file").touch()
    leftovers.sweep(tmp_path / "file")


def test_staging_folders_are_removed_at_the_end_and_after_an_error(tmp_path):
    with staging_folder(tmp_path) as stage:
        (stage / "a").touch()
    assert parts(tmp_path) == []
    with pytest.raises(ValueError, match="stop"), staging_folder(tmp_path):
        raise ValueError("stop")
    assert parts(tmp_path) == []
