"""Sub-images, compared with extract_subimages.py of the toolbox."""

import numpy as np
import pytest
from picture_files import positions

from moeisr_plugin.data.sub_images import SubImages


def toolbox_starts(length, crop_size, step, thresh_size):
    """Return the positions as in extract_subimages.py, which has no function for them."""
    space = np.arange(0, length - crop_size + 1, step)
    if length - (space[-1] + crop_size) > thresh_size:
        space = np.append(space, length - crop_size)
    return space.tolist()


@pytest.mark.parametrize(
    ("size", "crop_size", "step", "thresh_size"),
    [
        ((50, 40), 20, 10, 0),
        ((53, 41), 20, 10, 0),
        ((53, 41), 20, 10, 3),
        ((21, 20), 20, 7, 0),
        ((99, 64), 32, 40, 9),
    ],
)
def test_positions_equal_those_of_the_toolbox(size, crop_size, step, thresh_size):
    picture = positions(*size)
    cut = list(SubImages(crop_size, step, thresh_size).cut("a", picture))
    assert [key for key, _ in cut] == [f"a_s{number:03d}" for number in range(1, len(cut) + 1)]
    assert all(piece.shape == (crop_size, crop_size, 3) for _, piece in cut)
    expected = [
        (y, x)
        for y in toolbox_starts(size[0], crop_size, step, thresh_size)
        for x in toolbox_starts(size[1], crop_size, step, thresh_size)
    ]
    assert [tuple(piece[0, 0, :2].tolist()) for _, piece in cut] == expected
    for (y, x), (_, piece) in zip(expected, cut, strict=True):
        np.testing.assert_array_equal(piece, picture[y : y + crop_size, x : x + crop_size])


@pytest.mark.parametrize(
    ("key", "sub_key"),
    [
        ("0801x2", "0801_s001"),
        ("X4/0801x4", "X4/0801_s001"),
        ("0801", "0801_s001"),
        ("x2fig5", "x2fig5_s001"),
    ],
)
def test_hr_and_lr_sub_images_have_the_same_keys(key, sub_key):
    assert [key for key, _ in SubImages(8, 8).cut(key, positions(8, 8))] == [sub_key]


def test_impossible_cuts_are_refused_with_one_line():
    with pytest.raises(ValueError, match=r"^7x9 pixels are too few for a sub-image of 8x8; lower crop_size"):
        list(SubImages(8, 4).cut("a", positions(7, 9)))
    for sizes in ((0, 4), (8, 0), (8, 4, -1)):
        with pytest.raises(ValueError, match=r"crop_size is .* at least 0$"):
            SubImages(*sizes)
