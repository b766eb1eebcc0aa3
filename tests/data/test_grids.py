"""Sizes at a scale, compared with the published rule, and pairs with a remainder."""

import math

import pytest

from moeisr_plugin.data.grids import Size, common_integer_scale, match_grids, scale_per_axis


def test_scale_is_one_number_or_two():
    assert scale_per_axis(3) == (3.0, 3.0)
    assert scale_per_axis([2, 3.5]) == (2.0, 3.5)
    for wrong in (0.5, "2", [1, 2, 3], [2, math.inf], None):
        with pytest.raises(ValueError, match=r"scale is .*; give a number of at least 1"):
            scale_per_axis(wrong)


@pytest.mark.parametrize("scale", [(2.0, 2.0), (3.7, 3.7), (2.0, 3.5), (1.0, 1.0), (6.0, 4.0 / 3.0)])
def test_hr_alone_is_cropped_as_published(scale):
    for n in range(40, 90):
        grids = match_grids(hr=Size(n, n + 7), lr=None, scale=scale)
        for hr, used, lr, s in zip((n, n + 7), grids.hr, grids.lr, scale, strict=True):
            assert lr == math.floor(hr / s + 1e-9)
            assert used == round(lr * s) <= hr


def test_rounding_error_of_the_division_loses_no_pixel():
    assert 33 / 1.1 < 30
    assert match_grids(hr=Size(33, 81), lr=None, scale=(1.1, 2.7)) == ((30, 30), (33, 81), (1.1, 2.7))


def test_lr_alone_is_enlarged_to_the_rounded_size():
    grids = match_grids(hr=None, lr=Size(11, 7), scale=(3.7, 2.5))
    assert grids.hr == (41, 18)  # 40.7 and 17.5; halves are rounded to even


@pytest.mark.parametrize(
    ("hr", "lr", "scale", "used_hr", "used_lr", "used_scale"),
    [
        ((24, 36), (8, 12), None, (24, 36), (8, 12), (3, 3)),
        ((26, 37), (8, 12), None, (24, 36), (8, 12), (3, 3)),  # LR by floor
        ((25, 37), (9, 13), None, (24, 36), (8, 12), (3, 3)),  # LR by ceiling
        ((15, 30), (10, 20), None, (15, 30), (10, 20), (1.5, 1.5)),
        ((20, 42), (10, 12), None, (20, 42), (10, 12), (2, 3.5)),
        ((41, 44), (11, 12), (3.7, 3.7), (41, 44), (11, 12), (3.7, 3.7)),
    ],
)
def test_grids_of_pairs(hr, lr, scale, used_hr, used_lr, used_scale):
    grids = match_grids(hr=Size(*hr), lr=Size(*lr), scale=scale)
    assert grids == (used_lr, used_hr, used_scale)


def test_contradictory_sizes_are_refused():
    with pytest.raises(ValueError, match="40 HR pixels are 4 times 10 LR pixels, not 2 times"):
        match_grids(hr=Size(40, 40), lr=Size(10, 10), scale=(2, 2))
    with pytest.raises(ValueError, match=r"3 HR pixels are too few for scale 4"):
        match_grids(hr=Size(3, 40), lr=None, scale=(4, 4))
    with pytest.raises(ValueError, match="scale is missing"):
        match_grids(hr=Size(3, 40), lr=None, scale=None)


def test_common_integer_scale():
    assert common_integer_scale(Size(26, 37), Size(8, 12)) == 3
    assert common_integer_scale(Size(15, 30), Size(10, 20)) is None
    assert common_integer_scale(Size(20, 30), Size(10, 10)) is None
