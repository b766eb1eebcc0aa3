"""Writing an LMDB: its content, reading by the toolbox, atomicity, and resuming after an interruption."""

import os
from pathlib import Path

import numpy as np
import pytest
from basicsr.data.data_util import paired_paths_from_lmdb
from basicsr.utils import FileClient, imfrombytes
from picture_files import encode, noise, positions, put, write_folder
from PIL import Image
from processes import path_of_a_killed_writer

from moeisr_plugin.data import lmdb_writing
from moeisr_plugin.data.lmdb_recipe import BadPictureError, Recipe
from moeisr_plugin.data.lmdb_writing import write_lmdb
from moeisr_plugin.data.storage import FolderPictures, LmdbPictures
from moeisr_plugin.data.sub_images import SubImages


def assert_same_pictures(database, folder, *, recursive=False):
    stored, pictures = LmdbPictures(database), FolderPictures(folder, recursive=recursive)
    assert stored.keys == pictures.keys
    for index in range(len(pictures)):
        expected = pictures.read(index)
        np.testing.assert_array_equal(stored.read(index), expected)
        assert stored.read(index).dtype == expected.dtype
        assert stored.header(index) == (*expected.shape[:2], False, False)


@pytest.fixture
def mixed(tmp_path):
    """A folder with one picture of each kind that the datasets read."""
    root = Path(
        write_folder(
            tmp_path / "mixed",
            {
                "rgb.png": noise(9, 7),
                "deep.png": noise(8, 8, dtype=np.uint16),
                "grey.png": noise(6, 5, channels=1),
                "alpha.png": noise(6, 5, channels=4),
                "photo.jpg": positions(40, 30),
                "photo.v2.webp": positions(20, 30),
                "sub/Zürich 東京.bmp": noise(5, 6),
            },
        )
    )
    Image.fromarray(noise(9, 9)).quantize(16).save(root / "palette.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(12, 9)).save(root / "turned.png", exif=turned)
    Image.fromarray(noise(9, 12, channels=4)).convert("CMYK").save(root / "print.tif")
    return root


def test_lmdb_has_the_pixels_of_the_folder(mixed, tmp_path):
    summary = write_lmdb(tmp_path / "out" / "m.lmdb", Recipe([mixed], recursive=True), threads=3)
    assert summary.transparent == 1
    assert not summary.skipped
    assert_same_pictures(tmp_path / "out" / "m.lmdb", mixed, recursive=True)
    assert os.listdir(tmp_path / "out") == ["m.lmdb"]
    assert sorted(os.listdir(tmp_path / "out" / "m.lmdb")) == ["data.mdb", "lock.mdb", "meta_info.txt"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_toolbox_reads_the_lmdb(mixed, tmp_path):
    for name in (
        "deep.png",
        "photo.v2.webp",
    ):  # the toolbox reads 8 bits only, and cuts keys at the first dot
        (mixed / name).unlink()
    database = str(tmp_path / "m.lmdb")
    write_lmdb(database, Recipe([mixed]))
    pairs = paired_paths_from_lmdb([database, database], ["lq", "gt"])
    client = FileClient("lmdb", db_paths=[database], client_keys=["gt"])
    pictures = FolderPictures(mixed)
    assert [pair["gt_path"] for pair in pairs] == pictures.keys
    for index, key in enumerate(pictures.keys):
        decoded = imfrombytes(client.get(key, "gt"), float32=False)
        assert decoded is not None
        np.testing.assert_array_equal(decoded[..., ::-1], pictures.read(index))
    assert Path(database, "meta_info.txt").read_text().splitlines()[0] == "alpha.png (6,5,3) 1"
    client.client._client["gt"].close()


def test_several_folders_are_merged(tmp_path):
    a = write_folder(tmp_path / "a", {"1.png": noise(4, 4, seed=1)})
    b = write_folder(tmp_path / "b", {"0.png": noise(5, 5, seed=2), "2.png": noise(6, 6, seed=3)})
    summary = write_lmdb(tmp_path / "ab.lmdb", Recipe([a, b]))
    assert summary.keys == LmdbPictures(tmp_path / "ab.lmdb").keys == ["0", "1", "2"]
    np.testing.assert_array_equal(LmdbPictures(tmp_path / "ab.lmdb").read(2), noise(6, 6, seed=3))


def test_sub_images_of_hr_and_lr_match(tmp_path):
    hr = write_folder(tmp_path / "HR", {"01.png": positions(40, 32), "02.png": positions(50, 32)})
    lr = write_folder(tmp_path / "X2", {"01x2.png": positions(20, 16), "02x2.png": positions(25, 16)})
    write_lmdb(tmp_path / "hr.lmdb", Recipe([hr], sub_images=SubImages(20, 10)))
    write_lmdb(tmp_path / "lr.lmdb", Recipe([lr], sub_images=SubImages(10, 5)))
    high, low = LmdbPictures(tmp_path / "hr.lmdb"), LmdbPictures(tmp_path / "lr.lmdb")
    assert high.keys == low.keys
    assert len(high) == 3 * 3 + 4 * 3  # rows at 0, 10, 20 and 0, 10, 20, 30; columns at 0, 10, 12
    for index in range(len(high)):
        assert high.read(index).shape == (20, 20, 3)
        assert (high.read(index)[0, 0, :2] == 2 * low.read(index)[0, 0, :2]).all()


def test_memory_map_grows_as_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_writing, "_FIRST_MAP_SIZE", 2**14)
    pictures = {f"{i}.png": noise(100, 100, seed=i) for i in range(8)}  # 240 kB
    folder = write_folder(tmp_path / "p", {"small.png": noise(1, 1)} | pictures)
    write_lmdb(tmp_path / "p.lmdb", Recipe([folder]))
    assert_same_pictures(tmp_path / "p.lmdb", folder)


def test_interrupted_run_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_writing, "_BYTES_PER_TRANSACTION", 1)
    folder = write_folder(tmp_path / "p", {f"{i}.png": noise(20, 20, seed=i) for i in range(6)})
    encoded = []
    png = lmdb_writing._encode_png

    def interrupt_at_the_fourth(pixels, compress_level):
        if len(encoded) == 3:
            raise KeyboardInterrupt
        encoded.append(pixels)
        return png(pixels, compress_level)

    recipe = Recipe([folder], sub_images=SubImages(20, 20))
    monkeypatch.setattr(lmdb_writing, "_encode_png", interrupt_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        write_lmdb(tmp_path / "p.lmdb", recipe)
    assert sorted(os.listdir(tmp_path)) == ["p", "p.lmdb.partial"]
    path_of_a_killed_writer(tmp_path / "p.lmdb.partial").touch()
    monkeypatch.setattr(lmdb_writing, "_encode_png", lambda *args: encoded.append(args[0]) or png(*args))
    write_lmdb(tmp_path / "p.lmdb", recipe)
    assert len(encoded) == 6
    assert sorted(os.listdir(tmp_path / "p.lmdb")) == ["data.mdb", "lock.mdb", "meta_info.txt"]
    stored = LmdbPictures(tmp_path / "p.lmdb")
    assert stored.keys == [f"{i}_s001" for i in range(6)]
    for i in range(6):
        np.testing.assert_array_equal(stored.read(i), noise(20, 20, seed=i))


def interrupted_before_verification(tmp_path, monkeypatch):
    """Write the LMDB of a folder, interrupt it before the verification, and return the folder."""
    folder = write_folder(tmp_path / "p", {f"{i}.png": noise(20, 20, seed=i) for i in range(3)})
    with monkeypatch.context() as patch:
        patch.setattr(lmdb_writing, "_verify", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_lmdb(tmp_path / "p.lmdb", Recipe([folder]))
    return folder


def test_files_of_another_run_are_refused(tmp_path, monkeypatch):
    folder = interrupted_before_verification(tmp_path, monkeypatch)
    with pytest.raises(
        ValueError, match=r"p\.lmdb\.partial: was started with other folders or options; repeat"
    ):
        write_lmdb(tmp_path / "p.lmdb", Recipe([folder], compress_level=2))
    Path(folder, "1.png").write_bytes(encode(noise(20, 20, seed=9)))
    with pytest.raises(
        ValueError, match=r"partial: key '1' differs from .*1\.png; delete the \.partial folder"
    ):
        write_lmdb(tmp_path / "p.lmdb", Recipe([folder]))
    Path(folder, "1.png").unlink()
    with pytest.raises(
        ValueError, match=r"partial: holds pictures that are no longer in the folders; delete it and run"
    ):
        write_lmdb(tmp_path / "p.lmdb", Recipe([folder]))
    assert not (tmp_path / "p.lmdb").exists()
    data = tmp_path / "p.lmdb.partial" / "data.mdb"
    data.write_bytes(data.read_bytes()[:9000])
    with pytest.raises(ValueError, match=r"data\.mdb: is cut off.*: delete .*partial to start again$"):
        write_lmdb(tmp_path / "p.lmdb", Recipe([folder]))


def test_written_values_are_verified(tmp_path, monkeypatch):
    folder = interrupted_before_verification(tmp_path, monkeypatch)
    put(tmp_path / "p.lmdb.partial", b"1", encode(noise(20, 20, seed=1))[:-300])
    with pytest.raises(ValueError, match=r"key '1' differs from"):
        write_lmdb(tmp_path / "p.lmdb", Recipe([folder]))


def test_bad_pictures_are_refused_or_skipped(tmp_path):
    folder = write_folder(
        tmp_path / "p", {"a.png": noise(20, 20), "b.png": noise(20, 20), "c.png": noise(9, 20)}
    )
    Path(folder, "b.png").write_bytes(encode(noise(20, 20))[:500])
    recipe = Recipe([folder], sub_images=SubImages(10, 10))
    with pytest.raises(BadPictureError, match=r"b\.png: is damaged"):
        write_lmdb(tmp_path / "p.lmdb", recipe)
    assert not (tmp_path / "p.lmdb").exists()
    summary = write_lmdb(tmp_path / "p.lmdb", recipe, skip_bad_pictures=True)
    assert LmdbPictures(tmp_path / "p.lmdb").keys == summary.keys == [f"a_s00{i}" for i in (1, 2, 3, 4)]
    damaged, small = summary.skipped
    assert damaged.startswith(f"{folder}/b.png: is damaged")
    assert small.startswith(f"{folder}/c.png: 9x20 pixels are too few")


def test_no_lmdb_without_good_pictures(tmp_path):
    folder = write_folder(tmp_path / "p", {"a.png": noise(9, 20)})
    with pytest.raises(ValueError, match="all 1 pictures are bad; name folders with good pictures"):
        write_lmdb(
            tmp_path / "p.lmdb", Recipe([folder], sub_images=SubImages(10, 10)), skip_bad_pictures=True
        )
    assert not (tmp_path / "p.lmdb").exists()


def test_unsuitable_targets_are_refused(tmp_path):
    folder = write_folder(tmp_path / "p", {"a.png": noise(9, 20)})
    with pytest.raises(ValueError, match=r"/p2: an LMDB's name must end in \.lmdb; choose another"):
        write_lmdb(tmp_path / "p2", Recipe([folder]))
    (tmp_path / "p.lmdb").mkdir()
    (tmp_path / "link.lmdb").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"link\.lmdb: exists already; remove it or choose another name"):
        write_lmdb(tmp_path / "link.lmdb", Recipe([folder]))
    with pytest.raises(ValueError, match=r"p\.lmdb: exists already; remove it or choose another name"):
        write_lmdb(tmp_path / "p.lmdb", Recipe([folder]))


def test_unsuitable_names_and_recipes_are_refused(tmp_path):
    deep = "/".join(["d" * 200] * 3)
    for name, recipe, message in [
        ("a\n.png", Recipe([tmp_path / "0"]), "the name has a line break; rename the file"),
        (
            deep + "/a.png",
            Recipe([tmp_path / "1"], recursive=True),
            "the key has 604 bytes, more than 511; rename the file",
        ),
        (os.fsdecode(b"\xff.png"), Recipe([tmp_path / "2"]), "the name is not UTF-8; rename it"),
        (
            "a.png",
            Recipe([tmp_path / "3", tmp_path / "3"]),
            "would both be stored as 'a'; rename one or make two",
        ),
        ("a.png", Recipe([tmp_path / "4"], compress_level=10), "compress_level is 10; give 0 to 9"),
        ("a.txt", Recipe([tmp_path / "5"]), "no picture found"),
    ]:
        path = Path(recipe.folders[0], name)
        path.parent.mkdir(parents=True)
        path.write_bytes(encode(noise(4, 4)))
        with pytest.raises(ValueError, match=message) as caught:
            write_lmdb(tmp_path / "p.lmdb", recipe)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("p.lmdb*"))
