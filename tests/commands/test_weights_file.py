"""`moeisr convert` and `moeisr upcycle` check the file that they are to write, in the same words."""

import pytest
from special_files import KINDS, make_special, state

from moeisr_plugin.cli import main

COMMANDS = {
    "convert": lambda target: ["convert", "weights.pth", target],
    "upcycle": lambda target: f"upcycle weights.pth --depths 2 3 --pictures pictures -o {target}".split(),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("new.safetensor", "unknown format; use the suffix .pth or .safetensors"),
        ("new", "unknown format; use the suffix .pth or .safetensors"),
        ("mine.PTH", "already exists; choose another name or add --overwrite"),
        ("folder.pth", "is a folder; choose another name"),
    ],
)
def test_an_unsuitable_target_is_one_line(command, target, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.PTH").write_bytes(b"mine")
    (tmp_path / "folder.pth").mkdir()
    before = sorted(tmp_path.iterdir())
    assert main(COMMANDS[command](target)) == 2
    assert capsys.readouterr().err == f"moeisr {command}: {target}: {message}\n"
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "mine.PTH").read_bytes() == b"mine"


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_only_a_file_is_overwritten(command, kind, options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.pth"
    make_special(path, kind)
    before = state(path)
    assert main([*COMMANDS[command]("mine.pth"), *options]) == 2
    assert capsys.readouterr().err == f"moeisr {command}: mine.pth: {KINDS[kind]}; choose another name\n"
    assert state(path) == before


def test_upcycle_checks_the_folder_before_the_work(tmp_path, monkeypatch, capsys):
    def work(*_, **__):
        pytest.fail("the work began")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"mine")
    monkeypatch.setattr("moeisr_plugin.models.upcycling.upcycle", work)
    assert main(COMMANDS["upcycle"]("file/new.pth")) == 2
    assert capsys.readouterr().err.startswith("moeisr upcycle: file")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_failure_leaves_no_folder(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise ValueError("fails")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("moeisr_plugin.models.upcycling.upcycle", fail)
    assert main(COMMANDS["upcycle"]("new/deeper/new.pth")) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_replaces_only_files(kind, options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "decoder.onnx"
    make_special(path, kind)
    before = state(path)
    assert main(["export", "tiny_LIIF", "-o", ".", *options]) == 2
    assert capsys.readouterr().err == f"moeisr export: decoder.onnx: {KINDS[kind]}; choose another name\n"
    assert state(path) == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
def test_an_export_needs_a_folder(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_special(tmp_path / "out", kind)
    assert main(["export", "tiny_LIIF", "-o", "out"]) == 2
    assert capsys.readouterr().err == f"moeisr export: out: {KINDS[kind]}; give a folder with -o\n"
