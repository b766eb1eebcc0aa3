"""`moeisr upscale` on folders: which pictures are enlarged, skipped and left out, and where outputs go."""

import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from upscale_command import draw, moeisr, refused, size_of

from moeisr_plugin.pictures import read_picture

pytestmark = pytest.mark.usefixtures("upscaler")


def tree(folder):
    """Return the files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def album(tmp_path):
    """A folder with a picture, two folders of pictures, and a hidden one."""
    for name in ("a.png", "day 1/b.jpg", "day 1/late/c.png", "day 2/b.jpg", ".cache/d.png"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path)
    return tmp_path / "album"


def test_recursive_keeps_the_structure(album, capsys):
    assert moeisr(album, "--scale", 2, "--recursive") == 0
    expected = ["a_x2.png", "day 1/b_x2.png", "day 1/late/c_x2.png", "day 2/b_x2.png"]
    assert tree(album.with_name("album_x2")) == expected
    assert "leaving out" not in capsys.readouterr().err
    assert (
        moeisr(album, "--scale", 2, "-r", "--expert-map", "-o", album.parent / "out", "--format", "jpg") == 0
    )
    maps = [name.replace(".png", "_experts.png") for name in expected]
    assert tree(album.parent / "out") == sorted([*maps, *(name.replace(".png", ".jpg") for name in expected)])


def test_without_recursive_the_number_of_folders_left_out_is_reported(album, capsys):
    assert moeisr(album, "--scale", 2) == 0
    assert tree(album.with_name("album_x2")) == ["a_x2.png"]
    note = f"moeisr upscale: {album}: leaving out 2 folders; add --recursive to enlarge their pictures"
    assert note in capsys.readouterr().err.splitlines()


def test_a_folder_that_holds_only_folders_names_the_remedy(album, capsys):
    (album / "a.png").unlink()
    assert refused(capsys, album, "--scale", 2).endswith(
        "album: contains no pictures; add --recursive to search its 2 folders"
    )
    shutil.rmtree(album / "day 1")
    shutil.rmtree(album / "day 2")
    assert refused(capsys, album, "--scale", 2, "-r").endswith("contains no pictures; give another folder")


def test_links_to_folders_are_left_out_so_that_a_loop_ends(album, capsys):
    (album / "day 1" / "loop").symlink_to(album, target_is_directory=True)
    assert moeisr(album, "--scale", 2, "-r") == 0
    assert len(tree(album.with_name("album_x2"))) == 4
    assert "leaving out 1 linked folder\n" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind")
def test_a_folder_that_cannot_be_read_does_not_stop_the_others(album, capsys):
    (album / "day 1").chmod(0)
    try:
        assert moeisr(album, "--scale", 2, "-r") == 0
    finally:
        (album / "day 1").chmod(0o700)
    assert tree(album.with_name("album_x2")) == ["a_x2.png", "day 2/b_x2.png"]
    assert "day 1: may not be read" in capsys.readouterr().err


def test_outputs_in_the_input_folder_are_not_enlarged_again(album, capsys):
    for arguments in (
        ("--scale", 2),
        ("--scale", 2.5, "--expert-map"),
        ("--size", "30x"),
        ("--long-side", 31),
    ):
        assert moeisr(album, *arguments, "-r", "-o", album) == 0
    assert "leaving out outputs of earlier runs (a_long31.png" not in capsys.readouterr().err
    before = tree(album)
    assert moeisr(album, "--scale", 3, "-r", "-o", album) == 0
    added = sorted(set(tree(album)) - set(before))
    assert added == ["a_x3.png", "day 1/b_x3.png", "day 1/late/c_x3.png", "day 2/b_x3.png"]
    err = capsys.readouterr().err
    assert (
        "leaving out outputs of earlier runs (a_30x.png and 19 more); name a file itself to enlarge it" in err
    )
    assert moeisr(album, "--scale", 3, "-r", "-o", album, "--skip-existing") == 0
    assert "skipping 4 of 4" in capsys.readouterr().out
    assert moeisr(album / "a_x3.png", "--scale", 2) == 0  # named itself
    assert size_of(album / "a_x3_x2.png") == (72, 60)


def test_output_folders_below_the_input_folder_are_not_enlarged_again(album):
    names = ["a", "day 1/b", "day 1/late/c", "day 2/b"]
    for _ in range(2):
        assert moeisr(album, "--scale", 2, "-r", "-o", album / "large", "--overwrite") == 0
        assert tree(album / "large") == [f"{name}_x2.png" for name in names]
        assert moeisr(album / "day 1", "--scale", 2, "-r", "--overwrite") == 0  # album/day 1_x2
        assert moeisr(album, "--scale", 3, "-r", "-o", album.parent / "out", "--overwrite") == 0
        assert tree(album.parent / "out") == [f"{name}_x3.png" for name in names]


def test_outputs_of_turned_pictures_are_recognised(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    draw(photos / "a.jpg", 12, 10, orientation=6)
    for scale in ("2x3", 4):
        assert moeisr(photos, "--scale", scale, "-o", photos) == 0
    assert tree(photos) == ["a.jpg", "a_x2x3.png", "a_x4.png"]


def test_pictures_that_only_look_like_outputs_are_enlarged(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    draw(photos / "a.png", 12, 10)
    draw(photos / "a_x2.png", 23, 20)  # another size
    draw(photos / "a_6x5.png", 6, 5)  # a thumbnail: outputs are never smaller
    draw(photos / "b_x2.png", 24, 20)  # no b
    draw(photos / "a_x2_experts.png", 13, 10)
    assert moeisr(photos, "--scale", 3, "-o", tmp_path / "out") == 0
    assert len(tree(tmp_path / "out")) == 5


@pytest.mark.parametrize(
    "option", [("--size", "24x20"), ("--size", "24x"), ("--long-side", 24), ("--short-side", 20)]
)
def test_pictures_as_large_as_the_size_are_skipped_and_counted_apart(tmp_path, capsys, option):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, size in (("small.png", (12, 10)), ("equal.png", (24, 20)), ("large.png", (48, 40))):
        draw(photos / name, *size)
    assert moeisr(photos, *option, "-o", tmp_path / "out") == 0
    assert len(tree(tmp_path / "out")) == 1
    assert "small" in tree(tmp_path / "out")[0]
    lines = capsys.readouterr().err.splitlines()
    name = " ".join(map(str, option))
    notes = [
        f"moeisr upscale: skipping {photos / 'equal.png'}: {name} is as large as the picture, 24x20",
        f"moeisr upscale: skipping {photos / 'large.png'}: {name} is smaller than the picture, 48x40",
        "moeisr upscale: 2 of 3 pictures skipped, because they are as large already",
    ]
    assert [line for line in lines if line.startswith("moeisr")] == notes
    (photos / "broken.png").write_text("no picture")
    assert moeisr(photos, *option, "-o", tmp_path / "out", "--overwrite") == 1
    assert "1 of 4 pictures failed" in capsys.readouterr().err


def test_a_single_picture_that_is_as_large_already_is_an_error(photo, capsys):
    assert "as large as the picture, 12x10; give a larger size" in refused(capsys, photo, "--size", "12x10")
    assert "smaller than the picture, 12x10" in refused(capsys, photo, "--long-side", "11")


@pytest.mark.parametrize(
    ("size", "orientation", "option", "expected"),
    [
        ((12, 10), 1, ("--long-side", 30), (30, 25)),
        ((10, 12), 1, ("--long-side", 30), (25, 30)),
        ((12, 10), 6, ("--long-side", 30), (30, 25)),
        ((12, 10), 1, ("--short-side", 25), (30, 25)),
        ((10, 12), 1, ("--short-side", 25), (25, 30)),
        ((7, 13), 1, ("--long-side", 26), (14, 26)),
    ],
)
def test_size_by_a_side(tmp_path, size, orientation, option, expected):
    draw(tmp_path / "a.jpg", *size, orientation=orientation)
    assert moeisr(tmp_path / "a.jpg", *option) == 0
    kind = option[0].removeprefix("--").removesuffix("-side")
    assert size_of(tmp_path / f"a_{kind}{option[1]}.png") == expected


@pytest.mark.parametrize("value", ["0", "-3", "1.5", "many"])
def test_sides_must_be_whole_numbers(photo, capsys, value):
    assert "is not a positive whole number" in refused(capsys, photo, f"--long-side={value}")


@pytest.mark.parametrize(("suffix", "channels"), [("jpg", 3), ("webp", 4), ("bmp", 3)])
def test_16_bits_become_8_with_a_note_where_the_format_holds_no_more(tmp_path, capsys, suffix, channels):
    deep = draw(tmp_path / "deep.png", channels=channels, dtype=np.uint16)
    assert moeisr(deep, "--scale", 2, "--format", suffix) == 0
    note = f"{deep}: has 16 bits per sample; {suffix} holds 8 (png and tiff hold 16)"
    assert f"moeisr upscale: {note}" in capsys.readouterr().err.splitlines()
    assert moeisr(deep, "--scale", 2) == 0
    assert "16 bits" not in capsys.readouterr().err
    kept, reduced = (read_picture(tmp_path / f"deep_x2.{each}").pixels for each in ("png", suffix))
    assert reduced.dtype == np.uint8
    difference = np.abs(np.rint(kept / 257) - reduced)
    assert difference.mean() < (12 if suffix == "jpg" else 1e-9)


def test_names_that_differ_in_case_are_enlarged_where_the_file_system_tells_them_apart(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "A.PNG", "a.jpg"):
        draw(photos / name)
    if len(tree(photos)) < 3:
        pytest.skip("this file system does not tell a.png and A.PNG apart")
    assert moeisr(photos, "--scale", 2) == 0
    assert tree(tmp_path / "photos_x2") == ["A.PNG_x2.png", "a.jpg_x2.png", "a.png_x2.png"]


def test_closed_up_folders_of_one_picture_are_batches(tmp_path, capsys):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    assert moeisr(tmp_path, "--long-side", 20, "-o", tmp_path / "out") == 0
    assert "1 of 1 pictures skipped" in capsys.readouterr().err
