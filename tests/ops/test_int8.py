"""Layers on 8-bit codes equal the same computation with rounded numbers in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from moeisr_plugin.ops import int8, int8_support
from moeisr_plugin.ops.int8 import UNIT, Coding, FineCoding, Int8Convolution, Int8Linear

needs_int8 = pytest.mark.skipif(int8_support.obstacle() is not None, reason=str(int8_support.obstacle()))
SOURCE, TARGET = Coding(0.03, 77), Coding(0.05, 3)


def random_codes(*shape):
    torch.manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def numbers(codes, coding=SOURCE):
    return (codes.double() - coding.zero_point) * coding.scale


def rounded(weight):
    """Return the weight in steps of a 127th of the largest magnitude of each output channel, float64."""
    exact = weight.double()
    step = exact.abs().flatten(1).amax(1).view(-1, *[1] * (weight.ndim - 1)) / 127
    return (exact / step).round() * step


def coded(exact, coding, *, relu):
    exact = exact.clamp_min(0) if relu else exact
    return (exact / coding.scale + coding.zero_point).round().clamp(0, 255).to(torch.uint8)


def assert_same(found, exact, *, relu):
    """Compare an output in float32 or codes. Where float32 rounds to a half, codes may differ by one."""
    if found.dtype == torch.float32:
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)
        return
    difference = (found.int() - coded(exact, TARGET, relu=relu).int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.01


@needs_int8
@pytest.mark.parametrize(("target", "relu"), [(None, False), (TARGET, False), (TARGET, True)])
@pytest.mark.parametrize(("rows", "n_in", "n_out"), [(251, 129, 37), (1, 7, 3), (64, 128, 128)])
def test_linear_equals_its_rounded_equation(rows, n_in, n_out, target, relu):
    codes, weight, bias = random_codes(rows, n_in), torch.randn(n_out, n_in), torch.randn(n_out)
    weight[0] = 0
    exact = numbers(codes) @ rounded(weight).nan_to_num().t() + bias.double()
    layer = Int8Linear(weight, bias, source=SOURCE, target=target, relu=relu)
    assert_same(layer(codes), exact, relu=relu)
    other = bias + 1
    assert_same(layer(codes, other), exact + 1, relu=relu)


@needs_int8
@pytest.mark.parametrize(("target", "relu"), [(None, False), (TARGET, True)])
@pytest.mark.parametrize(
    "geometry", [{"padding": 1}, {"stride": 2, "padding": (2, 0)}, {"dilation": 2}, {"groups": 2}]
)
def test_convolution_equals_its_rounded_equation(geometry, target, relu):
    """Padding must stand for 0, whose code is not 0."""
    codes = random_codes(2, 18, 13, 17).contiguous(memory_format=torch.channels_last)
    layer = nn.Conv2d(18, 22, 3, **geometry)
    weight, bias = layer.weight.detach(), torch.randn(22)
    options = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}
    exact = F.conv2d(numbers(codes), rounded(weight), bias.double(), **options)
    found = Int8Convolution(layer, weight, bias, source=SOURCE, target=target, relu=relu)(codes)
    assert_same(found, exact, relu=relu)


@needs_int8
def test_sums_of_the_largest_products_do_not_saturate():
    weight = torch.ones(1, 1024)
    for code in (0, 255):
        codes = torch.full((3, 1024), code, dtype=torch.uint8)
        found = Int8Linear(weight, torch.zeros(1), source=Coding(1.0, 128))(codes)
        torch.testing.assert_close(found, torch.full((3, 1), 1024.0 * (code - 128)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_quantising_rounds_halves_up_and_clamps(layout, monkeypatch):
    monkeypatch.setattr(int8, "_BLOCK", 50)
    torch.manual_seed(0)
    features = (torch.randn(2, 5, 7, 3) * 6).contiguous(memory_format=layout)
    features[0, 0, 0] = torch.tensor([0.015, 100.0, -100.0])
    codes = int8.quantise(features, SOURCE)
    expected = torch.floor(features.double() / SOURCE.scale + SOURCE.zero_point + 0.5).clamp(0, 255)
    assert codes.is_contiguous(memory_format=torch.channels_last)
    assert codes[0, 0, 0].tolist() == [78, 255, 0]
    assert (codes - expected).abs().max() <= 1
    assert (codes == expected).float().mean() > 0.99
    part = features[:, 1:4, 2:5]  # not dense in memory
    assert torch.equal(int8.quantise(part, SOURCE), codes[:, 1:4, 2:5])


@pytest.mark.parametrize(("low", "high"), [(-1.3, 2.9), (0.0, 7.0), (0.5, 7.0), (-3.0, -1.0), (0.0, 0.0)])
def test_a_coding_covers_its_range_and_zero(low, high):
    coding = Coding.of_range(low, high)
    ends = numbers(torch.tensor([0, 255]), coding)
    step = coding.scale / 2 + 1e-9
    assert ends[0] <= min(low, 0) + step
    assert ends[1] >= max(high, 0) - step
    assert numbers(torch.tensor(coding.zero_point), coding) == 0


def test_fine_codes_leave_little():
    torch.manual_seed(0)
    features = torch.randn(1, 4, 9, 5)
    coding = FineCoding.of_range(features.min().item(), features.max().item())
    parts = int8.quantise_finely(features, coding)
    found = sum(numbers(codes, each) for codes, each in zip(parts, coding, strict=True))
    assert (found - features).abs().max() < coding.coarse.scale / 200


def test_numbers_at_the_ends_of_the_range_are_noticed():
    codes = torch.full((1, 2, 3, 3), 9, dtype=torch.uint8)
    assert not int8.exceeds(codes, SOURCE)
    for end in (0, 255):
        codes[0, 1, 2, 2] = end
        assert int8.exceeds(codes, SOURCE)
    codes[0, 1, 2, 2] = 0
    assert not int8.exceeds(codes, UNIT)  # 0 is the smallest number


def test_codes_that_are_often_clamped_are_noticed():
    codes = random_codes(1, 8, 40, 44).clamp_max(254)
    assert not int8.often_clamped(codes)
    codes[:, :, ::2, ::2] = 255
    assert int8.often_clamped(codes)


@needs_int8
def test_compensation_lowers_the_error_at_samples():
    torch.manual_seed(0)
    samples = torch.rand(500, 3) @ torch.rand(3, 40) + 0.01 * torch.rand(500, 40)
    weight, bias = torch.randn(3, 40), torch.randn(3)
    exact = samples.double() @ weight.double().t() + bias

    def error(weight, bias):
        return (samples.double() @ rounded(weight).t() + bias - exact).square().mean().sqrt()

    better, shifted = int8.compensated(weight, bias, samples)
    torch.testing.assert_close(rounded(better).float(), better)
    assert error(better, shifted) < 0.3 * error(weight, bias)


@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_damaged_weights_are_refused(damage):
    weight, bias = torch.ones(2, 3), torch.ones(2)
    with pytest.raises(ValueError, match="weights are NaN or Inf"):
        Int8Linear(weight, bias * damage, source=UNIT)
    with pytest.raises(ValueError, match="weights are NaN or Inf"):
        Int8Linear(weight * damage, bias, source=UNIT)
    with pytest.raises(ValueError, match="activations are NaN or Inf"):
        Coding.of_range(-1, damage)
