"""A file is written whole or not at all, and replaces nothing but a file."""

import pytest
from special_files import KINDS, make_special, state

from moeisr_plugin.utils.atomic import atomic_write
from moeisr_plugin.utils.messages import one_line


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_replaced(kind, tmp_path):
    path = tmp_path / "path"
    make_special(path, kind)
    before = state(path), sorted(tmp_path.iterdir())
    with pytest.raises(FileExistsError) as refused, atomic_write(path):
        pytest.fail("the file was opened")
    assert one_line(refused.value) == f"{path}: {KINDS[kind]}; choose another name"
    assert (state(path), sorted(tmp_path.iterdir())) == before


@pytest.mark.parametrize("there", [None, b"old"])
def test_files_are_created_and_replaced(there, tmp_path):
    path = tmp_path / "path"
    if there is not None:
        path.write_bytes(there)
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.exists() == (there is not None)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("path", b"new")]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "path"
    path.write_bytes(b"old")

    def fail():
        with atomic_write(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("path", b"old")]
