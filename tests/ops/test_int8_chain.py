"""Chains of convolutions on codes: close to float32 within the ranges, float32 beyond them."""

import pytest
import torch
from torch import nn

from moeisr_plugin.ops import int8_support
from moeisr_plugin.ops.int8_chain import Int8Convolutions, Ranges, channel_steps

needs_int8 = pytest.mark.skipif(int8_support.obstacle() is not None, reason=str(int8_support.obstacle()))


def chain(*, relu):
    """Return convolutions, the same as one module, an input, and the ranges that occur with it."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(16, 24, 3, padding=1), nn.Conv2d(24, 20, (3, 5), padding=(1, 2))]
    layers[0].weight.data[:, 3] *= 30  # channels of different ranges
    layers[0].weight.data[5] *= 30
    whole = nn.Sequential(layers[0], nn.ReLU(), layers[1], *[nn.ReLU()] * relu).requires_grad_(False)
    features = torch.randn(2, 16, 11, 13)
    hidden = whole[:2](features)
    spread = [each.transpose(0, 1).flatten(1) for each in (features, hidden)]
    return layers, whole, features, Ranges(spread[0].amin(1), spread[0].amax(1), [spread[1].amax(1)])


@needs_int8
@pytest.mark.parametrize("relu", [False, True])
def test_a_chain_is_close_to_its_convolutions(relu):
    layers, whole, features, ranges = chain(relu=relu)
    features *= 0.99  # the ends of the range count as beyond
    with torch.inference_mode():
        found, expected = Int8Convolutions(layers, ranges, relu=relu)(features), whole(features)
    assert 0 < (found - expected).norm() / expected.norm() < 0.02
    assert not torch.equal(found, expected)


@needs_int8
@pytest.mark.parametrize("relu", [False, True])
def test_an_input_beyond_the_range_is_computed_in_float32(relu):
    layers, whole, features, ranges = chain(relu=relu)
    converted = Int8Convolutions(layers, ranges, relu=relu)
    features[1, 2, 3, 4] = 9
    with torch.inference_mode():
        torch.testing.assert_close(converted(features), whole(features))


@needs_int8
def test_hidden_numbers_beyond_their_range_are_computed_in_float32():
    layers, whole, features, ranges = chain(relu=False)
    converted = Int8Convolutions(layers, ranges._replace(hidden=[ranges.hidden[0] / 5]), relu=False)
    with torch.inference_mode():
        features *= 0.99
        torch.testing.assert_close(converted(features), whole(features))


def test_steps_cover_the_channels_and_survive_dead_ones():
    largest = torch.tensor([3.0, 0.0, 0.5, 2.0])
    following = torch.tensor([[1.0, 1.0, 4.0, 0.0], [-2.0, 0.5, 1.0, 0.0]])
    steps = channel_steps(largest, following)
    assert (steps > 0).all()
    assert (largest / steps <= 255.001).all()
    assert (largest / steps).max() == pytest.approx(255, abs=0.01)
    assert channel_steps(torch.zeros(2), torch.zeros(3, 2)).isfinite().all()
