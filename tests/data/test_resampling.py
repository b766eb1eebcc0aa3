"""Downsampling, compared with plain bicubic weights in float64 and with `imresize` of the toolbox."""

import numpy as np
import pytest
from basicsr.utils.matlab_functions import imresize
from picture_files import noise

from moeisr_plugin.data.grids import Size
from moeisr_plugin.data.resampling import downsample, to_unit


def bicubic_weights(n_in, n_out, *, repeat):
    """Return weights (n_out, n_in) of the kernel of Keys (a = -0.5), stretched by the scale.

    Edges are replicated if `repeat`, else the kernel is cut off and normalised.
    """
    scale = n_in / n_out
    weights = np.zeros((n_out, n_in))
    for o in range(n_out):
        centre = (o + 0.5) * scale - 0.5
        for i in range(-2 * n_in, 3 * n_in):
            d = abs(i - centre) / scale
            if d < 1:
                value = 1.5 * d**3 - 2.5 * d**2 + 1
            elif d < 2:
                value = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
            else:
                continue
            weights[o, min(max(i, 0), n_in - 1)] += value if repeat or 0 <= i < n_in else 0
    return weights / weights.sum(1, keepdims=True)


def reference(picture, size, *, repeat):
    rows, columns = (bicubic_weights(n, m, repeat=repeat) for n, m in zip(picture.shape, size, strict=False))
    return rows, columns, picture / np.iinfo(picture.dtype).max


SIZES = [((21, 34), (7, 17)), ((26, 19), (7, 13)), ((13, 11), (13, 11)), ((12, 30), (2, 3))]


@pytest.mark.parametrize(("hr", "lr"), SIZES)
@pytest.mark.parametrize("method", ["pil", "matlab"])
def test_16_bit_is_bicubic_without_rounding(hr, lr, method):
    picture = noise(*hr, dtype=np.uint16) // 2 + 2**14  # keeps overshoot between the passes in range
    rows, columns, unit = reference(picture, lr, repeat=method == "matlab")
    result = downsample(picture, Size(*lr), method)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.einsum("hH,HWc,wW->hwc", rows, unit, columns), atol=2e-5)


@pytest.mark.parametrize("method", ["pil", "matlab"])
def test_16_bit_overshoot_is_clipped(method):
    edge = np.zeros((24, 24, 3), np.uint16)
    edge[8:16] = 65535
    result = downsample(edge, Size(12, 12), method)
    assert result.min() == 0
    assert result.max() == 1


@pytest.mark.parametrize(("hr", "lr"), SIZES)
def test_8_bit_pil_is_bicubic_rounded_to_8_bits(hr, lr):
    picture = noise(*hr) // 2 + 64
    rows, columns, unit = reference(picture, lr, repeat=False)
    levels = downsample(picture, Size(*lr)).astype(np.float64) * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    # Pillow rounds between its two passes too.
    assert np.abs(levels - 255 * np.einsum("hH,HWc,wW->hwc", rows, unit, columns)).max() < 1.5


@pytest.mark.parametrize(("hr", "lr"), SIZES)
def test_8_bit_matlab_rounds_after_each_axis(hr, lr):
    picture = noise(*hr)
    rows, columns, unit = reference(picture, lr, repeat=True)
    half_way = np.floor((np.einsum("hH,HWc->hWc", rows, unit) * 255).clip(0, 255) + 0.5)
    expected = np.floor(np.einsum("hWc,wW->hwc", half_way, columns).clip(0, 255) + 0.5)
    levels = np.rint(downsample(picture, Size(*lr), "matlab").astype(np.float64) * 255)
    np.testing.assert_array_equal(levels, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_matlab_equals_imresize_of_the_toolbox_inside_the_edges(scale):
    picture = noise(11 * scale, 13 * scale, dtype=np.uint16) // 2 + 2**14
    expected = imresize(to_unit(picture), 1 / scale)
    result = downsample(picture, Size(11, 13), "matlab")
    np.testing.assert_allclose(result[2:-2, 2:-2], expected[2:-2, 2:-2], atol=2e-6)


def test_to_unit_maps_the_full_range_to_0_and_1():
    assert to_unit(np.array([0, 51, 255], np.uint8)).tolist() == [0, np.float32(0.2), 1]
    assert to_unit(np.array([0, 65535], np.uint16)).tolist() == [0, 1]
