"""The mapper matches its convolutions written out."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from moeisr_plugin.archs.mapper import Mapper, SingleExpertMapper


@pytest.mark.parametrize(
    ("depth", "kernel_size", "hidden_dim"), [(5, 3, None), (1, 3, None), (3, 1, 8), (2, 5, 4)]
)
def test_a_mapper_matches_its_convolutions_written_out(depth, kernel_size, hidden_dim):
    torch.manual_seed(0)
    mapper = Mapper(
        latent_channels=6, num_experts=4, depth=depth, kernel_size=kernel_size, hidden_dim=hidden_dim
    )
    convs = [layer for layer in mapper if isinstance(layer, nn.Conv2d)]
    widths = [6, *[hidden_dim or 6] * (depth - 1), 4]
    assert [tuple(conv.weight.shape[:2]) for conv in convs] == list(zip(widths[1:], widths[:-1], strict=True))
    latent = torch.randn(2, 6, 5, 7)
    expected = latent
    for i, conv in enumerate(convs):
        expected = F.conv2d(expected, conv.weight, conv.bias, padding=kernel_size // 2)
        expected = expected.clamp(min=0) if i < depth - 1 else expected
    assert expected.shape == (2, 4, 5, 7)
    torch.testing.assert_close(mapper(latent), expected)


def test_invalid_options_are_refused():
    with pytest.raises(ValueError, match="mapper_depth"):
        Mapper(latent_channels=6, num_experts=4, depth=0)
    with pytest.raises(ValueError, match="mapper_kernel_size must be odd"):
        Mapper(latent_channels=6, num_experts=4, kernel_size=2)


def test_scores_of_a_single_expert_are_zero():
    scores = SingleExpertMapper()(torch.randn(2, 6, 5, 7, dtype=torch.float64))
    assert scores.shape == (2, 1, 5, 7)
    assert scores.dtype == torch.float64
    assert not scores.any()
