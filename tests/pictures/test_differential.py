"""Generated files of all formats and layouts: right against their source and a second decoder, or refused."""

import io
import re

import numpy as np
import pytest
from picture_grid import Case, all_cases
from PIL import Image
from second_decoder import BY_OPENCV, decode, largest_difference, pyvips

from moeisr_plugin.pictures import PictureError, decode_header, decode_picture, upright

CASES = all_cases()
MISREAD = re.compile(r"tiff grey and alpha .* strips .* planar")
"""Files that libvips misreads: strips of two planes."""


def test_there_are_enough_files_with_different_names():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 150


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pixels_are_those_of_the_source(case: Case, capfd):
    picture = decode_picture(io.BytesIO(case.data))
    assert capfd.readouterr() == ("", "")
    pixels = upright(picture.pixels, picture.orientation)
    assert (pixels.shape, pixels.dtype) == (case.pixels.shape, case.pixels.dtype)
    assert decode_header(io.BytesIO(case.data))[:2] == picture.pixels.shape[:2]
    assert largest_difference(pixels, case.pixels) <= case.tolerance


@pytest.mark.parametrize("suffix", sorted({case.suffix for case in CASES}))
def test_pixels_are_those_of_a_second_decoder(suffix):
    if pyvips is None and suffix not in BY_OPENCV:
        pytest.skip("needs pyvips[binary]")
    compared = 0
    for case in CASES:
        if case.suffix != suffix or MISREAD.search(case.name):
            continue
        second = decode(case.data, suffix)
        if second is None or second.dtype != case.pixels.dtype or second.shape != case.pixels.shape:
            continue
        picture = decode_picture(io.BytesIO(case.data))
        pixels = upright(picture.pixels, picture.orientation)
        # Chroma is enlarged by other filters; libvips shifts 10 bits to 16, and does not scale them.
        assert largest_difference(pixels, second) <= (6 if case.tolerance else 0.3), case.name
        compared += 1
    total = sum(case.suffix == suffix for case in CASES)
    assert compared >= total / 3, (compared, total)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("suffix", sorted({case.suffix for case in CASES}))
def test_a_file_that_lacks_its_end_is_refused_on_a_clean_terminal(suffix, kept, capfd):
    cases = [case for case in CASES if case.suffix == suffix]
    for case in cases[:: max(1, len(cases) // 12)]:
        try:
            picture = decode_picture(io.BytesIO(case.data[: int(kept * len(case.data))]))
        except PictureError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:  # only the checksum and the end mark are missing
            assert largest_difference(picture.pixels, case.pixels) <= case.tolerance
            assert kept > 0.8
    assert capfd.readouterr() == ("", "")


REPRESENTATIVE = [
    next(case for case in CASES if case.name.startswith(start))
    for start in (
        "tiff rgb 16 tiles lzw > planar",
        "tiff rgba 8",
        "tiff orientation 6",
        "png 3 channels of 16",
        "png orientation 5",
        "jpeg 4:2:0 baseline",
        "webp 4",
        "bmp 3",
        ".ppm raw 1023",
    )
]


@pytest.mark.parametrize("case", REPRESENTATIVE, ids=lambda case: case.name)
def test_smooth_colours_are_enlarged_like_bicubic(case, bundled):
    picture = decode_picture(io.BytesIO(case.data))
    enlarged = upright(bundled(picture.pixels, scale=2), picture.orientation)
    height, width = case.pixels.shape[:2]
    white = np.iinfo(case.pixels.dtype).max
    for plane in range(case.pixels.shape[2]):
        source = Image.fromarray((case.pixels[..., plane] * (255 / white)).astype(np.float32))
        bicubic = np.asarray(source.resize((2 * width, 2 * height), Image.Resampling.BICUBIC))
        difference = np.abs(enlarged[..., plane] * (255 / white) - bicubic)[4:-4, 4:-4]
        assert difference.max() <= 2 + case.tolerance


@pytest.fixture(scope="module")
def bundled():
    from moeisr_plugin import Upscaler

    return Upscaler(device="cpu")
