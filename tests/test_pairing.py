"""Which pictures a dataset's options choose, and how HR and LR find each other."""

import logging

import numpy as np
import pytest
from picture_files import noise, write_folder, write_lmdb

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


def test_a_missing_partner_is_named(roots, tmp_path):
    (tmp_path / "lr" / "bx2.bmp").unlink()
    with pytest.raises(ValueError, match=r"lr: has no picture 'bx2', the LR of .*hr/b\.png"):
        open_pairs(roots)


def test_a_left_over_lr_picture_is_named(roots, tmp_path):
    (tmp_path / "hr" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"hr: has no HR picture for .*lr/bx2\.bmp"):
        open_pairs(roots)


def test_meta_info_file_and_first_k_choose(roots, tmp_path):
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


def test_options_that_fit_nothing(roots):
    with pytest.raises(ValueError, match="neither dataroot_gt nor dataroot_lq"):
        open_pairs({})
    with pytest.raises(ValueError, match="cache is 'ram'; give one of none, memory"):
        open_pairs({**roots, "cache": "ram"})
