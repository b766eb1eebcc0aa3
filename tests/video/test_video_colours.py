"""Conversions of frames against the equations of the standards."""

import numpy as np
import pytest
from video_files import av

from moeisr_plugin.video.colours import Colours, colours_of, from_rgb, has_alpha, sampling_of, to_rgb
from moeisr_plugin.video.formats import Sampling

WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Shares of red and blue in luma, of BT.709, BT.601 (twice) and BT.2020."""


def equations(rgb, matrix, limited):
    """Return Y, Cb and Cr, (3, H, W), in codes of 8 bits, of RGB in [0, 1]."""
    red, blue = WEIGHTS[matrix]
    luma = red * rgb[..., 0] + (1 - red - blue) * rgb[..., 1] + blue * rgb[..., 2]
    chroma = [(rgb[..., 2] - luma) / 2 / (1 - blue), (rgb[..., 0] - luma) / 2 / (1 - red)]
    if limited:
        return np.stack([16 + 219 * luma, *(128 + 224 * each for each in chroma)])
    return np.stack([255 * luma, *(128 + 255 * each for each in chroma)])


def planes(frame, dtype):
    rows = [np.frombuffer(plane, dtype).reshape(plane.height, -1) for plane in frame.planes]
    return np.stack([each[:, : frame.width] for each in rows]).astype(float)


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("limited", [True, False])
def test_yuv_follows_the_equations(matrix, limited):
    rgb = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    colours = Colours(matrix, limited, 2, 2, False)
    frame = from_rgb(rgb, "yuv444p", colours)
    assert np.abs(planes(frame, np.uint8) - equations(rgb / 255, matrix, limited)).max() < 1.1
    assert (frame.colorspace, frame.color_range) == (matrix, 1 if limited else 2)
    assert np.abs(to_rgb(frame, colours, deep=False).astype(int) - rgb).max() <= 2


def test_ten_bits_survive_the_way_to_rgb_and_back():
    """All greys: white is 65283 of 65535 in libswscale's RGB of 16 bits, in both directions."""
    colours = Colours(1, True, 2, 2, False)
    frame = av.VideoFrame(877, 2, "yuv444p10le")
    grey = np.broadcast_to(np.arange(64, 941), (2, 877))
    for plane, values in zip(frame.planes, (grey, 512, 512), strict=True):
        rows = np.zeros((2, plane.line_size // 2), np.uint16)
        rows[:, :877] = values
        plane.update(rows.tobytes())
    rgb = to_rgb(frame, colours, deep=True)
    assert rgb.dtype == np.uint16
    assert np.abs(rgb / 65280 - (grey[..., None] - 64) / 876).max() < 2e-4
    back = planes(from_rgb(rgb, "yuv444p10le", colours), np.uint16)
    assert np.abs(back - planes(frame, np.uint16)).max() <= 1


def test_a_missing_matrix_follows_from_the_height():
    for height, matrix in ((718, 6), (720, 1)):
        found = colours_of(av.VideoFrame(64, height, "yuv420p"))
        assert (found.matrix, found.limited, found.is_rgb) == (matrix, True, False)
    assert not colours_of(av.VideoFrame(64, 64, "yuvj420p")).limited
    assert colours_of(av.VideoFrame(64, 64, "rgb24")).is_rgb


def test_an_unknown_matrix_is_refused():
    frame = av.VideoFrame(64, 64, "yuv420p")
    frame.colorspace = 8
    with pytest.raises(ValueError, match=r"matrix \(number 8\) is not supported; convert it to BT\.709"):
        colours_of(frame)


SAMPLINGS = {
    "yuv420p": (8, 420),
    "nv12": (8, 420),
    "yuv411p": (8, 422),
    "yuv410p": (8, 420),
    "yuv440p": (8, 444),
    "yuva444p10le": (10, 444),
    "yuv422p12le": (12, 422),
    "gray": (8, 420),
    "gray10le": (10, 420),
    "rgba": (8, 444),
    "gbrp10le": (10, 444),
    "pal8": (8, 444),
}


@pytest.mark.parametrize("name", SAMPLINGS)
def test_depth_and_chroma_of_formats(name):
    form = av.VideoFormat(name, 16, 16)
    assert sampling_of(form) == Sampling(*SAMPLINGS[name])
    assert has_alpha(form) == (name in ("yuva444p10le", "rgba"))
