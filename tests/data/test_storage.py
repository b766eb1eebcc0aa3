"""Folder, LMDB and memory storage: equal pictures and order, and their errors."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from picture_files import cut_off, noise, write_folder, write_lmdb
from PIL import Image

from moeisr_plugin.commands.jobs import plan_jobs
from moeisr_plugin.data.benchmark_layouts import benchmark_options
from moeisr_plugin.data.scaled_set import ScaledSet
from moeisr_plugin.data.storage import FolderPictures, LmdbPictures, PicturesInMemory, open_pictures
from moeisr_plugin.pictures import PICTURE_SUFFIXES

# Names whose order differs with and without the suffixes.
NAMES = ["b.png", "a.b.png", "a.png", "a-1.bmp", "B.PNG"]


def write_both(tmp_path, names=NAMES, dtype: type = np.uint8):
    pictures = {name: noise(5 + i, 9 - i, seed=i, dtype=dtype) for i, name in enumerate(names)}
    by_key = {str(Path(name).with_suffix("")): picture for name, picture in pictures.items()}
    folder = write_folder(tmp_path / "pictures", pictures)
    return (
        FolderPictures(folder, recursive=True),
        LmdbPictures(write_lmdb(tmp_path / "p.lmdb", by_key)),
        by_key,
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_storages_have_the_same_pictures_in_the_same_order(tmp_path, dtype):
    names = [name for name in NAMES if dtype == np.uint8 or not name.endswith("bmp")] + ["sub/z.png"]
    folder, database, pictures = write_both(tmp_path, names, dtype)
    for source in (folder, database, PicturesInMemory(folder), PicturesInMemory(database)):
        assert source.keys == sorted(pictures)
        for index, key in enumerate(source.keys):
            np.testing.assert_array_equal(source.read(index), pictures[key])
            assert source.header(index) == (*pictures[key].shape[:2], False, False)
            assert Path(source.path(index)).stem == Path(key + ".png").stem


def test_take_selects_pictures_in_the_given_order(tmp_path):
    folder, database, pictures = write_both(tmp_path)
    for source in (folder, database, PicturesInMemory(folder)):
        taken = source.take(["b", "a"])
        assert len(taken) == 2
        np.testing.assert_array_equal(taken.read(0), pictures["b"])
        np.testing.assert_array_equal(PicturesInMemory(taken).read(1), pictures["a"])
        assert len(source) == len(NAMES)


def test_folder_ignores_other_and_hidden_files(tmp_path):
    root = write_folder(
        tmp_path, {"a.png": noise(4, 4), ".hidden.png": noise(4, 4), "sub/b.png": noise(4, 4)}
    )
    (tmp_path / "notes.txt").write_text("x")
    assert FolderPictures(root).keys == ["a"]
    assert FolderPictures(root, recursive=True).keys == ["a", "sub/b"]


def test_dataset_upscale_and_evaluate_find_the_same_suffixes(tmp_path):
    names = {f"{suffix[1:]}{suffix}" for suffix in PICTURE_SUFFIXES}
    for name in [*names, "notes.txt", "none"]:
        (tmp_path / name).touch()
    jobs = plan_jobs([tmp_path], None, label="x2", suffix=None, expert_map=False).jobs
    assert {job.source.name for job in jobs} == names
    assert set(FolderPictures(tmp_path).names.values()) == names
    for name in names:
        folder = tmp_path / "set" / name[::-1]
        folder.mkdir(parents=True)
        (folder / name.upper()).touch()
        assert benchmark_options(folder, (2, 2))["dataroot_gt"] == str(folder)


@pytest.mark.parametrize("suffix", [".ppm", ".gif"])
def test_dataset_and_evaluate_read_suffixes_beyond_the_common_ones(tmp_path, suffix):
    picture = noise(12, 16, channels=1)
    Image.fromarray(picture[..., 0]).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(FolderPictures(tmp_path).read(0), picture[..., [0, 0, 0]])
    sample = ScaledSet(tmp_path, (2, 2), "auto")[0]
    assert (sample.name, sample.size) == ("a", (12, 16))


def test_two_pictures_of_one_key_are_refused(tmp_path):
    root = write_folder(tmp_path, {"a.png": noise(4, 4), "a.bmp": noise(4, 4)})
    with pytest.raises(ValueError, match=r"a\.bmp and a\.png differ only in the suffix"):
        FolderPictures(root)


def test_damaged_file_is_named(tmp_path):
    root = write_folder(tmp_path, {"a.png": noise(30, 30)})
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"a\.png: is damaged or incomplete .*copy or export it again$"):
        FolderPictures(root).read(0)


def test_options_without_pictures_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    database = write_lmdb(tmp_path / "p.lmdb", {"a": noise(4, 4)})
    for opt, message in [
        ({"dataroot_gt": None}, "dataroot_gt is None; give a folder"),
        ({"dataroot_gt": str(tmp_path / "nowhere")}, "nowhere: no such folder"),
        ({"dataroot_gt": str(tmp_path / "empty")}, "empty: no picture found"),
        ({"dataroot_gt": database}, r"set io_backend: \{type: lmdb\}"),
        (
            {"dataroot_gt": str(tmp_path / "empty"), "io_backend": {"type": "lmdb"}},
            r"empty: the name of an LMDB must end in \.lmdb; rename it",
        ),
        ({"dataroot_gt": database, "io_backend": {"type": "petrel"}}, "'petrel'; give disk or lmdb"),
    ]:
        with pytest.raises(ValueError, match=message):
            open_pictures(opt, "dataroot_gt")


def test_pictures_in_memory_need_no_files(tmp_path):
    pictures = PicturesInMemory(FolderPictures(write_folder(tmp_path / "p", {"a.png": noise(4, 6)})))
    shutil.rmtree(tmp_path / "p")
    np.testing.assert_array_equal(pictures.read(0), noise(4, 6))
    assert pictures.header(0) == (4, 6, False, False)


def test_bad_picture_in_memory_raises_on_access(tmp_path):
    root = write_folder(tmp_path / "p", {"a.png": noise(4, 6), "b.png": noise(40, 40)})
    cut_off(tmp_path / "p" / "b.png")
    pictures = PicturesInMemory(FolderPictures(root))
    shutil.rmtree(root)
    np.testing.assert_array_equal(pictures.read(0), noise(4, 6))
    for ask in (pictures.header, pictures.read):
        with pytest.raises(ValueError, match=r"/b\.png: is damaged") as caught:
            ask(1)
        assert str(caught.value).count("b.png") == 1
