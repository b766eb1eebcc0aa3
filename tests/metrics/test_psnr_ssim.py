"""The protocols match the published formula in float64, the toolbox's metrics and scikit-image."""

import math

import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_metric, calculate_psnr, calculate_ssim
from basicsr.utils import tensor2img
from skimage.metrics import structural_similarity

from moeisr_plugin.metrics import calculate_psnr_protocol, calculate_ssim_protocol

SCALES = [2, 3, 4, 3.7, (2, 3.5), 1.0]


def pictures(height=53, width=61, channels=3, noise=12.0):
    """Return a noisy BGR image that exceeds [0, 255] and the smooth image in this range, in float64."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width][..., None]  # (H, W, 1) each
    picture = 127 + 110 * np.sin(y / 7 + np.arange(channels)) * np.cos(x / 9)
    return picture + rng.normal(0, noise, picture.shape), picture


def published_psnr(sr, hr, dataset, scale):
    """Compute calc_psnr of LIIF for RGB in [0, 1], with a border per axis."""
    diff = sr.clip(0, 255)[..., ::-1] / 255 - hr[..., ::-1] / 255
    scale_y, scale_x = (math.ceil(s) for s in (scale if isinstance(scale, tuple) else (scale, scale)))
    if dataset == "benchmark":
        if diff.shape[2] > 1:
            diff = (diff * np.array([65.738, 129.057, 25.064]) / 256).sum(axis=2)
    elif dataset == "div2k":
        scale_y, scale_x = scale_y + 6, scale_x + 6
    valid = diff[scale_y:-scale_y, scale_x:-scale_x]
    return -10 * math.log10((valid**2).mean())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("protocol", ["benchmark", "div2k"])
def test_psnr_matches_the_published_formula(protocol, scale, channels):
    sr, hr = pictures(channels=channels)
    result = calculate_psnr_protocol(sr, hr, protocol=protocol, scale=scale)
    assert result == pytest.approx(published_psnr(sr, hr, protocol, scale), abs=1e-4)


@pytest.mark.parametrize(
    ("metric", "toolbox"),
    [
        (calculate_psnr_protocol, calculate_psnr),
        (calculate_ssim_protocol, calculate_ssim),
    ],
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_rounded_rgb_matches_the_toolbox(metric, toolbox, scale):
    sr, hr = pictures()
    rounded = [np.rint(picture.clip(0, 255)).astype(np.uint8) for picture in (sr, hr)]
    expected = toolbox(*rounded, crop_border=scale + 6)
    assert metric(sr, hr, protocol="div2k", scale=scale, quantise=True) == pytest.approx(expected, abs=1e-6)
    assert metric(*rounded, protocol="div2k", scale=scale) == pytest.approx(expected, abs=1e-6)
    assert abs(metric(sr, hr, protocol="div2k", scale=scale) - expected) > 1e-6


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [2, 3, 4, 2.5])
def test_protocol_basicsr_is_the_measure_of_the_toolbox(scale, channels):
    sr, hr = pictures(channels=channels)
    tensors = [torch.from_numpy(picture[..., ::-1].copy() / 255).permute(2, 0, 1) for picture in (sr, hr)]
    images = [tensor2img(tensor.repeat(3 // channels, 1, 1)) for tensor in tensors]
    border = math.ceil(scale)
    for metric, toolbox in (
        (calculate_psnr_protocol, calculate_psnr),
        (calculate_ssim_protocol, calculate_ssim),
    ):
        expected = toolbox(*images, crop_border=border, test_y_channel=False)
        assert metric(sr, hr, protocol="basicsr", scale=scale) == pytest.approx(expected, abs=1e-6)
        assert abs(metric(sr, hr, protocol="benchmark", scale=scale) - expected) > 1e-3 or channels == 1


@pytest.mark.parametrize("scale", [2, 3.7, (2, 3.5)])
@pytest.mark.parametrize("protocol", ["benchmark", "div2k"])
def test_ssim_matches_scikit_image(protocol, scale):
    sr, hr = pictures()
    top, left = (math.ceil(s) for s in (scale if isinstance(scale, tuple) else (scale, scale)))
    if protocol == "benchmark":
        coefficients = np.array([25.064, 129.057, 65.738]) / 256
        planes = [
            16 + (picture.clip(0, 255) * coefficients).sum(axis=2, keepdims=True) for picture in (sr, hr)
        ]
    else:
        planes = [sr.clip(0, 255), hr]
        top, left = top + 6, left + 6
    values = []
    for channel in range(planes[0].shape[2]):
        a, b = (plane[top:-top, left:-left, channel] for plane in planes)
        similarity = structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
        )[1]
        values.append(np.asarray(similarity)[5:-5, 5:-5].mean())
    result = calculate_ssim_protocol(sr, hr, protocol=protocol, scale=scale)
    assert result == pytest.approx(np.mean(values), abs=1e-6)


def test_equal_images_of_each_shape_and_type():
    _, hr = pictures(channels=1)
    for picture in (hr, hr[..., 0], hr.astype(np.float32), hr.astype(np.uint8)):
        assert calculate_psnr_protocol(picture, picture, protocol="benchmark", scale=2) == math.inf
        assert calculate_ssim_protocol(picture, picture, protocol="benchmark", scale=2) == pytest.approx(1)


def test_the_border_is_excluded():
    _, hr = pictures()
    sr = hr.copy()
    sr[:10] = sr[-10:] = 0
    sr[:, :8] = sr[:, -8:] = 0
    assert calculate_psnr_protocol(sr, hr, protocol="div2k", scale=(3.2, 2)) == math.inf
    assert calculate_psnr_protocol(sr, hr, protocol="div2k", scale=(3, 2)) < 30
    assert calculate_psnr_protocol(sr, hr, protocol="div2k", scale=(3.2, 1)) < 30


def test_rounding_errors_of_a_scale_do_not_widen_the_border():
    sr, hr = pictures()
    expected = calculate_psnr_protocol(sr, hr, protocol="benchmark", scale=3)
    assert calculate_psnr_protocol(sr, hr, protocol="benchmark", scale=3.0000000001) == expected


def test_metrics_are_registered_with_the_toolbox():
    sr, hr = pictures()
    data = {"img": sr, "img2": hr}
    opt = {"protocol": "benchmark", "scale": [2, 3.5], "better": "higher"}
    psnr = calculate_metric(data, {"type": "calculate_psnr_protocol", **opt})
    assert psnr == calculate_psnr_protocol(sr, hr, protocol="benchmark", scale=(2, 3.5))
    ssim = calculate_metric(data, {"type": "calculate_ssim_protocol", **opt})
    assert ssim == calculate_ssim_protocol(sr, hr, protocol="benchmark", scale=(2, 3.5))


@pytest.mark.parametrize("metric", [calculate_psnr_protocol, calculate_ssim_protocol])
def test_images_that_cannot_be_compared_are_refused(metric):
    sr, hr = pictures()
    with pytest.raises(ValueError, match="protocol is 'set5'; give one of benchmark, div2k, basicsr"):
        metric(sr, hr, protocol="set5", scale=2)
    with pytest.raises(ValueError, match=r"shapes \(53, 61, 3\) and \(53, 60, 3\); give two of the same"):
        metric(sr, hr[:, 1:], protocol="div2k", scale=2)
    with pytest.raises(ValueError, match="16x61 has no pixels inside the border: protocol div2k at scale 2"):
        metric(sr[:16], hr[:16], protocol="div2k", scale=2)


def test_ssim_needs_a_window_inside_the_border():
    sr, hr = pictures(height=14)
    assert calculate_psnr_protocol(sr, hr, protocol="benchmark", scale=2) < 60
    with pytest.raises(ValueError, match="SSIM needs 11x11 pixels; protocol benchmark leaves 10x57"):
        calculate_ssim_protocol(sr, hr, protocol="benchmark", scale=2)
