"""`moeisr upscale` with pipes, devices, standard streams and unusual paths."""

import errno
import io
import os
import socket
import stat
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from processes import ROOT
from upscale_command import draw, moeisr, refused, size_of

from moeisr_plugin.cli import main
from moeisr_plugin.pictures import WRITABLE, decode_picture

pytestmark = pytest.mark.usefixtures("upscaler")


class Stream(io.TextIOWrapper):
    """A text stream in memory, like `sys.stdin` and `sys.stdout`."""

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")

    def content(self) -> bytes:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue()


@pytest.fixture
def replaced(monkeypatch):
    """A function that replaces a standard stream. In a fixture, pytest would replace it again."""

    def replace(name: str, content: bytes = b"") -> Stream:
        stream = Stream(content)
        monkeypatch.setattr(sys, name, stream)
        return stream

    return replace


def nothing_else_in(folder, *expected):
    return sorted(path.name for path in folder.iterdir()) == sorted(expected)


@pytest.mark.parametrize("form", WRITABLE)
def test_picture_from_standard_input_to_standard_output(form, photo, replaced, monkeypatch, tmp_path):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    replaced("stdin", photo.read_bytes())
    stdout = replaced("stdout")
    assert moeisr("-", "--scale", 2, "-o", "-", "--format", form) == 0
    picture = decode_picture(io.BytesIO(stdout.content()))
    assert picture.pixels.shape == (20, 24, 3)
    assert nothing_else_in(tmp_path, "photo.png", "tmp")
    assert nothing_else_in(tmp_path / "tmp")


def test_standard_input_to_a_file(photo, replaced, tmp_path):
    replaced("stdin", photo.read_bytes())
    assert moeisr("-", "--scale", 2, "-o", tmp_path / "new.png") == 0
    assert size_of(tmp_path / "new.png") == (24, 20)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_wrong_standard_input_is_one_line_and_writes_nothing(content, replaced, capsys):
    replaced("stdin", content)
    stdout = replaced("stdout")
    assert "standard input: is " in refused(capsys, "-", "--scale", 2, "-o", "-")
    assert stdout.content() == b""


def test_error_of_an_output_names_standard_output(tmp_path, replaced, capsys):
    stdout = replaced("stdout")
    clear = draw(tmp_path / "clear.png", channels=4)
    line = refused(capsys, clear, "--scale", 2, "-o", "-", "--format", "jpg")
    assert "standard output: JPEG cannot hold transparency" in line
    assert stdout.content() == b""


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--scale", 2, "--format", "jpg"], 0, "has 16 bits per sample; jpg holds 8"),
        (["--scale", 2, "--verbose"], 0, "12x10 RGB of 16 bits, encoded in"),
        (["--size", "10x8"], 2, "--size 10x8 is smaller than the picture"),
        (["--scale", 2, "--max-pixels", 200, "--format", "jpg"], 2, "the output of 12x10 would be 24x20"),
    ],
)
def test_messages_name_standard_input(arguments, status, message, replaced, tmp_path, capsys):
    replaced("stdin", draw(tmp_path / "deep.png", dtype=np.uint16).read_bytes())
    replaced("stdout")
    assert moeisr("-", *arguments, "-o", "-") == status
    err = capsys.readouterr().err
    assert f"standard input: {message}" in err
    assert "picture." not in err


def test_a_reader_that_ends_before_the_picture_is_one_line(photo, monkeypatch, capsys):
    class Closed(Stream):
        @property
        def buffer(self):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    line = refused(capsys, photo, "--scale", 2, "-o", "-")
    assert line == "moeisr upscale: standard output: its reader ended before the picture; give -o FILE"


@pytest.mark.parametrize("closed", [">&-", ">&- <&-"])
def test_closed_standard_output_is_one_line(closed, photo):
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f"{sys.executable} -m moeisr_plugin.cli upscale photo.png -s 2 -o - {closed}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=photo.parent, env=settings, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == (
        "moeisr upscale: -o - (standard output) is closed; redirect it to a file, or give -o FILE\n"
    )
    assert done.returncode == 2


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    code = f"""
import os
from moeisr_plugin.commands.programs import run_program
def work():
    with open({str(tmp_path / "file")!r}, "wb") as file:
        os.write(1, b"printed by a library")
        os.write(2, b"printed by a library")
        file.write(b"content")
    return 0
raise SystemExit(run_program("program", work, debug=False))
"""
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = 'exec "$0" -c "$1" <&- >&- 2>&-'
    done = subprocess.run(["bash", "-c", command, sys.executable, code], env=settings, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b"content"


def test_full_standard_output_is_one_line_with_the_remedy(photo, monkeypatch, capsys):
    class Full(Stream):
        @property
        def buffer(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    line = refused(capsys, photo, "--scale", 2, "-o", "-", "--quiet")
    assert line == "moeisr upscale: standard output: No space left on device; give -o FILE"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "--scale", "2"], "has no name; give -o FILE"),
        (["-", "photo.png", "--scale", "2", "-o", "out"], "is one picture"),
        (["-", "--scale", "2", "-o", "."], "has no name; give -o FILE"),
        (["photo.png", "photo.png", "--scale", "2", "-o", "-"], "takes one picture; give a folder"),
        ([".", "--scale", "2", "-o", "-"], "takes one picture; give a folder"),
        (["*.png", "--scale", "2", "-o", "-"], "takes one picture; give a folder"),
        (["-", "--scale", "2", "-o", "new"], "has no name; give -o FILE"),
        (["photo.png", "--scale", "2", "-o", "-", "--expert-map"], "omit --expert-map"),
    ],
)
def test_unsuitable_uses_of_standard_streams(arguments, message, photo, monkeypatch, capsys):
    monkeypatch.chdir(photo.parent)
    assert message in refused(capsys, *arguments)


def test_a_terminal_gets_no_picture(photo, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "on the terminal" in refused(capsys, photo, "--scale", 2, "-o", "-")


def test_a_file_can_be_named_like_standard_input(photo, monkeypatch):
    monkeypatch.chdir(photo.parent)
    photo.rename(photo.with_name("-"))
    assert moeisr("./-", "--scale", 2, "-o", "new.png") == 0
    assert size_of("new.png") == (24, 20)


def special_files(folder):
    """Make inputs that are no files. Return their paths and what they are."""
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket must be short
        one.bind("socket.png")
        os.chdir(here)
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "round.png").symlink_to("about.png")
    (folder / "about.png").symlink_to("round.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "to_pipe.png").symlink_to("pipe.png")
    (folder / "to_null.png").symlink_to("/dev/null")
    return {
        "pipe.png": "is a pipe, not a file",
        "to_pipe.png": "is a pipe, not a file",
        "socket.png": "is a socket, not a file",
        "to_null.png": "is a device, not a file",
        "loop.png": "remove the symbolic link, which leads to itself",
        "round.png": "remove the symbolic link, which leads to itself",
        "gone.png": "there is no such file",
        "photo.png/inside.png": "of which a part is a file",
        "n" * 260 + ".png": "choose a shorter name",
    }


def test_inputs_that_are_no_files_are_one_line(photo, capsys):
    out = photo.with_name("out")
    for name, message in special_files(photo.parent).items():
        line = refused(capsys, photo.parent / name, "--scale", 2, "-o", out)
        assert line.startswith(f"moeisr upscale: {photo.parent / name}: ")
        assert message in line


def test_inputs_that_are_no_files_do_not_stop_the_others(photo, capsys):
    names = special_files(photo.parent)
    out = photo.with_name("out")
    assert (
        moeisr(photo, *(photo.parent / name for name in names if len(name) < 99), "--scale", 2, "-o", out)
        == 1
    )
    assert nothing_else_in(out, "photo_x2.png")
    assert "8 of 9 pictures failed" in capsys.readouterr().err
    assert moeisr(photo.parent, "--scale", 3, "-o", out) == 0  # a folder's own pictures are its files
    assert nothing_else_in(out, "photo_x2.png", "photo_x3.png")


def wrong_targets(folder):
    (folder / "a_file").touch()
    (folder / "a_folder.png").mkdir()
    (folder / "a_folder.png/photo_x2.png").mkdir()
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "about.png").symlink_to("round.png")
    (folder / "round.png").symlink_to("about.png")
    os.mkfifo(folder / "pipe.png")
    return {
        "a_file/y.png": "a_file is a file, not a folder; choose another -o",
        "a_file/deeper/y.png": "a_file is a file, not a folder; choose another -o",
        "dangling/y.png": "is a symbolic link to nowhere, which does not exist, not a folder; choose another",
        "loop.png/y.png": "loop.png is a symbolic link that leads to itself, not a folder; choose another -o",
        "dangling.png": "is a symbolic link to nowhere.png, which does not exist; remove the link",
        "loop.png": "is a symbolic link that leads to itself; remove the link, or choose another -o",
        "about.png": "is a symbolic link that leads to itself; remove the link, or choose another -o",
        "a_folder.png": "is a folder; choose another -o",
        "pipe.png": "is a pipe; choose another -o",
        "/dev/null": "/dev/null is a device, not a folder; choose another -o",
        "/dev/full": "/dev/full is a device, not a folder; choose another -o",
        "n" * 260 + ".png": "choose a shorter name",
        "n" * 260 + "/y.png": "choose a shorter name",
    }


@pytest.mark.parametrize("mode", ["--overwrite", "--dry-run"])
def test_outputs_that_cannot_be_written_are_one_line(mode, photo, capsys):
    for name, message in wrong_targets(photo.parent).items():
        before = sorted(photo.parent.rglob("*"))
        assert message in refused(capsys, photo, "--scale", 2, mode, "-o", photo.parent / name), name
        assert sorted(photo.parent.rglob("*")) == before
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_output_name_may_be_too_long_though_the_input_is_not(photo, capsys):
    long = draw(photo.with_name("n" * 251 + ".png"))
    assert "choose a shorter name" in refused(capsys, long, "--scale", 2)
    assert "choose a shorter name" in refused(capsys, long, "--scale", 2, "--skip-existing")


def test_an_output_that_is_the_input_is_refused_through_links(photo, capsys):
    (photo.parent / "link").symlink_to(photo.parent)
    line = refused(capsys, photo, "--scale", 2, "--overwrite", "-o", photo.parent / "link/photo.png")
    assert "is an input and would be overwritten" in line


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", os.fsdecode(b"a\xff\xfeb"), "a\u202eb", " ", "a\tb"])
def test_unusual_names_are_printed_safely(name, photo, capsys):
    photo = photo.rename(photo.with_name(f"{name}.png"))
    assert moeisr(photo, "--scale", 2) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 1
    assert printed[:-1].isprintable()
    assert photo.with_name(f"{name}_x2.png").exists()
    photo.write_bytes(b"")
    line = refused(capsys, photo, "--scale", 3)
    assert line.isprintable()
    assert "is empty" in line


def test_equal_stems_keep_their_suffixes_and_equal_names_are_named(photo, capsys):
    folder = photo.parent / "in"
    folder.mkdir()
    for name in ("a.png", "a.jpg", "b.png"):
        Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(folder / name)
    assert moeisr(folder, "--scale", 2, "-o", photo.with_name("out")) == 0
    assert nothing_else_in(photo.with_name("out"), "a.png_x2.png", "a.jpg_x2.png", "b_x2.png")
    other = photo.parent / "other"
    other.mkdir()
    draw(other / "b.png")
    capsys.readouterr()
    line = refused(capsys, folder / "b.png", other / "b.png", "--scale", 2, "-o", photo.with_name("new"))
    assert str(folder / "b.png") in line
    assert str(other / "b.png") in line
    assert not photo.with_name("new").exists()


@pytest.mark.parametrize(
    ("argument", "command"),
    [
        ("INPUT", "upscale @ --scale 2"),
        ("-i/--input", "upscale -i @ --scale 2"),
        ("-o/--output", "upscale photo.png --scale 2 -o @"),
        ("--data", "evaluate --weights tiny_LIIF --data @"),
        ("-o", "evaluate --weights tiny_LIIF --data . -o @"),
        ("--pictures", "upcycle tiny_LIIF --depths 2 3 --pictures @ -o new.pth"),
        ("DST", "convert old.pth @"),
    ],
)
def test_an_unset_variable_is_not_the_current_folder(argument, command, photo, monkeypatch, capsys):
    monkeypatch.chdir(photo.parent)
    with pytest.raises(SystemExit) as stop:
        main([word.replace("@", "") for word in command.split()])
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{argument}: is an empty name; name a file or folder, such as . for this folder" in line
    assert nothing_else_in(photo.parent, "photo.png")
