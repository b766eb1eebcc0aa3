"""Selection of pictures by options, and matching of HR and LR."""

import logging

import numpy as np
import pytest
from picture_files import cut_off, noise, write_folder, write_lmdb

from moeisr_plugin.data.pairing import open_pairs


@pytest.fixture
def roots(tmp_path):
    hr = write_folder(tmp_path / "hr", {f"{name}.png": noise(8, 8, seed=i) for i, name in enumerate("abc")})
    lr = write_folder(tmp_path / "lr", {f"{name}x2.bmp": noise(4, 4, seed=i) for i, name in enumerate("abc")})
    return {"dataroot_gt": hr, "dataroot_lq": lr, "filename_tmpl": "{}x2"}


def test_pairs_are_matched_by_the_template(roots):
    hr, lr = open_pairs(roots)
    assert hr is not None
    assert lr is not None
    assert (hr.keys, lr.keys) == (["a", "b", "c"], ["ax2", "bx2", "cx2"])
    for index in range(3):
        np.testing.assert_array_equal(lr.read(index), noise(4, 4, seed=index))


def test_pairs_in_subfolders_and_lmdbs(tmp_path):
    hr = write_lmdb(tmp_path / "hr.lmdb", {"s/a": noise(8, 8), "b": noise(8, 8)})
    lr = write_lmdb(tmp_path / "lr.lmdb", {"s/a": noise(4, 4), "b": noise(4, 4)})
    opt = {"dataroot_gt": hr, "dataroot_lq": lr, "io_backend": {"type": "lmdb"}, "cache": "memory"}
    hr, lr = open_pairs(opt)
    assert hr is not None
    assert lr is not None
    assert hr.keys == lr.keys == ["b", "s/a"]


def test_missing_lr_picture_is_named(roots, tmp_path):
    (tmp_path / "lr" / "bx2.bmp").unlink()
    with pytest.raises(ValueError, match=r"lr: has no picture 'bx2', the LR of .*hr/b\.png"):
        open_pairs(roots)


def test_unmatched_lr_picture_is_named(roots, tmp_path):
    (tmp_path / "hr" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"hr: has no HR picture for .*lr/bx2\.bmp"):
        open_pairs(roots)


def test_meta_info_file_and_first_k_select_pictures(roots, tmp_path):
    chosen = tmp_path / "chosen.txt"
    chosen.write_text("c.png (8,8,3)\na.png (8,8,3)\n")
    hr, lr = open_pairs({**roots, "meta_info_file": str(chosen)})
    assert hr is not None
    assert lr is not None
    assert (hr.keys, lr.keys) == (["c", "a"], ["cx2", "ax2"])
    hr, lr = open_pairs({"dataroot_lq": roots["dataroot_lq"], "first_k": 2, "cache": "memory"})
    assert hr is None
    assert lr is not None
    assert lr.keys == ["ax2", "bx2"]
    chosen.write_text("d.png (8,8,3)\n")
    with pytest.raises(ValueError, match=r"chosen\.txt: names d\.png, which is not in"):
        open_pairs({**roots, "meta_info_file": str(chosen)})


@pytest.mark.parametrize(
    ("names", "ending"),
    [
        (["photo (1).png", "b.png"], ""),
        (["photo (1).png", "b.png"], " (8,8,3)"),
        (["photo (1).png", "b.png"], " (8,8,3) 1"),
        ([" leading.png", "b (2,3,4).png"], " (8,8,3)"),  # a line with only a name may be indented
        ([" leading.png", "b (2,3,4).png"], " (8,8,3) 1"),
    ],
)
def test_meta_info_file_accepts_any_picture_name(tmp_path, names, ending):
    root = write_folder(tmp_path / "hr", {name: noise(8, 8) for name in [*names, "other.png"]})
    chosen = tmp_path / "chosen.txt"
    chosen.write_text("".join(f"{name}{ending}\n" for name in names))
    hr, _ = open_pairs({"dataroot_gt": root, "meta_info_file": str(chosen)})
    assert hr is not None
    assert hr.keys == [name.removesuffix(".png") for name in names]


def test_dropped_alpha_is_logged_once(tmp_path, caplog):
    root = write_folder(
        tmp_path, {f"{i}.png": noise(4, 4, channels=channels) for i, channels in enumerate([3, 4, 4])}
    )
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    try:
        open_pairs({"dataroot_gt": root})
    finally:
        logger.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == [
        f"{root}: alpha is dropped from 2 pictures."
    ]


@pytest.fixture
def logged(caplog):
    """A function that returns the messages of the toolbox logger."""
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records]
    logger.removeHandler(caplog.handler)


@pytest.fixture
def bad_pairs(tmp_path):
    """Five pairs: the HR of b is empty, the LR of c is a text, the HR of d is truncated after the header."""
    names = [f"{name}.png" for name in "abcde"]
    hr = write_folder(tmp_path / "hr", {name: noise(60, 60) for name in names})
    lr = write_folder(tmp_path / "lr", {name: noise(30, 30) for name in names})
    (tmp_path / "hr" / "b.png").write_bytes(b"")
    (tmp_path / "lr" / "c.png").write_text("no picture")
    cut_off(tmp_path / "hr" / "d.png")
    return {"dataroot_gt": hr, "dataroot_lq": lr}


@pytest.mark.parametrize(
    ("opt", "decode_all", "number"), [({}, False, 2), ({}, True, 3), ({"cache": "memory"}, False, 3)]
)
def test_first_bad_picture_is_named_and_all_are_counted(bad_pairs, opt, decode_all, number):
    remedy = f"{number} of 5 pictures cannot be read; skip_bad_pictures: true skips them"
    with pytest.raises(ValueError, match=rf"hr/b\.png: is empty; .* \({remedy}\)$") as caught:
        open_pairs({**bad_pairs, **opt}, decode_all=decode_all)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("opt", "decode_all", "left"), [({}, False, "ade"), ({}, True, "ae"), ({"cache": "memory"}, False, "ae")]
)
def test_bad_pairs_are_skipped_named_and_counted(bad_pairs, opt, decode_all, left, logged):
    hr, lr = open_pairs({**bad_pairs, **opt, "skip_bad_pictures": True}, decode_all=decode_all)
    assert hr is not None
    assert lr is not None
    assert hr.keys == lr.keys == list(left)
    lines = [line for line in logged() if "kept in memory" not in line]
    assert len(lines) == 5 - len(left) + 1
    assert lines[0].startswith(f"Skipped: {bad_pairs['dataroot_gt']}/b.png: is empty")
    assert lines[1].startswith(f"Skipped: {bad_pairs['dataroot_lq']}/c.png: is not a picture")
    assert lines[-1] == f"{bad_pairs['dataroot_gt']}: {5 - len(left)} of 5 pictures skipped."


def test_skipping_all_pictures_is_an_error(tmp_path):
    root = write_folder(tmp_path / "hr", {"a.png": noise(8, 8)})
    (tmp_path / "hr" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.png: is empty; .* \(none of 1 pictures can be read\)$"):
        open_pairs({"dataroot_gt": root, "skip_bad_pictures": True})


@pytest.mark.parametrize("make", [write_folder, write_lmdb])
def test_pictures_larger_than_max_pixels_are_refused(tmp_path, make):
    names = ["a", "b"] if make is write_lmdb else ["a.png", "b.png"]
    sizes = [(8, 8), (8, 9)]
    root = make(tmp_path / "p.lmdb", {name: noise(*size) for name, size in zip(names, sizes, strict=True)})
    opt = {"dataroot_gt": root, "io_backend": {"type": "lmdb" if make is write_lmdb else "disk"}}
    hr, _ = open_pairs({**opt, "max_pixels": 72})
    assert hr is not None
    assert len(hr) == 2
    with pytest.raises(
        ValueError, match=r"b\.png: 9x8 is more than the limit of 71 pixels; raise max_pixels"
    ):
        open_pairs({**opt, "max_pixels": 71})


def test_invalid_options_are_refused(roots):
    with pytest.raises(ValueError, match="neither dataroot_gt nor dataroot_lq"):
        open_pairs({})
    with pytest.raises(ValueError, match="cache is 'ram'; give one of none, memory"):
        open_pairs({**roots, "cache": "ram"})
