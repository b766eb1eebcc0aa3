"""Pipes and devices are refused without waiting, by all readers."""

import os

import pytest

from moeisr_plugin.cli import main
from moeisr_plugin.options.parse import read_options
from moeisr_plugin.pictures import PictureError, read_picture
from moeisr_plugin.publishing.index import read_index
from moeisr_plugin.publishing.statement import read_statement
from moeisr_plugin.utils.regular_files import read_text
from moeisr_plugin.utils.tensor_files import CheckpointError, read_tensor_file


@pytest.fixture(params=["pipe", "device", "link"])
def special(request, tmp_path):
    """A path that is no file. Reading the pipe would wait for ever."""
    path = tmp_path / "special.png"
    if request.param == "device":
        return "/dev/zero"
    os.mkfifo(path)
    if request.param == "link":
        (tmp_path / "link.png").symlink_to(path)
        return tmp_path / "link.png"
    return path


@pytest.mark.parametrize("read", [read_text, read_options, read_statement, read_index])
def test_texts(read, special, tmp_path):
    path = type(tmp_path)(special)
    with pytest.raises(ValueError, match=rf"{path}: is a (pipe|device), not a file; save its content"):
        read(path)


def test_pictures_and_weights(special):
    with pytest.raises(PictureError, match=rf"{special}: is a (pipe|device), not a file"):
        read_picture(special)
    with pytest.raises(CheckpointError, match=rf"{special}: is a (pipe|device), not a file of weights"):
        read_tensor_file(special)


def test_commands(special, tmp_path, capsys):
    for arguments in (
        ["options", str(special)],
        ["convert", str(special), str(tmp_path / "new.pth")],
        ["complexity", "--weights", "tiny_LIIF", "--image", str(special)],
    ):
        assert main(arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert "not a file" in lines[0]
