"""Experts on codes equal their rounded equations, and are close to float32."""

import pytest
import torch
from references import TINY_ENCODER

from moeisr_plugin.archs.implicit_arch import MoEISRLIIF
from moeisr_plugin.ops import int8_support
from moeisr_plugin.ops.workspace import Workspace
from moeisr_plugin.render import int8_experts
from moeisr_plugin.render.int8_experts import Int8Experts
from moeisr_plugin.render.unfolded import unfolded_experts

pytestmark = pytest.mark.skipif(int8_support.obstacle() is not None, reason=str(int8_support.obstacle()))


def mixture(**options):
    torch.manual_seed(0)
    return MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=24, **options).requires_grad_(False).eval()


def sample(*size):
    torch.manual_seed(1)
    return torch.randn(1, 4, *size)


def grids(n, per_y, per_x, width):
    """Return rel_y (N, P) and rel_x (w, R)."""
    torch.manual_seed(2)
    return torch.rand(n, per_y) * 4 - 2, torch.rand(width, per_x) * 4 - 2


class RoundedLinear:
    """The plain equation of `Int8Linear` in float64."""

    def __init__(self, weight, bias, *, source, target=None, relu=False):
        step = weight.double().abs().amax(1, keepdim=True) / 127
        self.weight, self.bias = (weight.double() / step).round() * step, bias
        self.source, self.target, self.relu = source, target, relu

    def __call__(self, codes, bias=None):
        inputs = (codes.double() - self.source.zero_point) * self.source.scale
        exact = inputs @ self.weight.t() + (self.bias if bias is None else bias)
        if self.target is None:
            return exact.float()
        return exact.clamp_min(0 if self.relu else None).round().clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("unfold", [True, False])
@pytest.mark.parametrize("cell_decode", [True, False])
def test_experts_equal_their_rounded_equations(unfold, cell_decode, monkeypatch):
    net, latent = mixture(unfold=unfold, cell_decode=cell_decode), sample(20, 30)
    radius = net.embedding.radius
    padded = torch.nn.functional.pad(latent[:, :, :5, :7], [radius] * 4)
    rel_cell, pixels = torch.tensor([[0.7, 0.4]]), torch.arange(35)
    rel_y, rel_x = grids(35, 2, 3, 7)
    groups = [pixels[j::4] for j in range(4)]
    answers = []
    with torch.inference_mode():
        for layer in (int8_experts.Int8Linear, RoundedLinear):
            monkeypatch.setattr(int8_experts, "Int8Linear", layer)
            evaluate = Int8Experts(net, latent).evaluate(padded, rel_cell, groups, rel_x)
            answers.append(
                [evaluate(j, group, rel_y[group], rel_x[group % 7]) for j, group in enumerate(groups)]
            )
    for found, expected in zip(*answers, strict=True):
        assert found.shape == (len(found), 2, 3, 3)
        scale = expected.abs().max()
        # A code can differ by one where float32 rounds to a half.
        torch.testing.assert_close(found, expected, rtol=0, atol=0.01 * scale.item())
        assert (found - expected).abs().mean() < 1e-4 * scale


def test_the_first_layer_is_the_clamped_difference_of_row_and_column(monkeypatch):
    net, latent = mixture(), sample(20, 30)
    with torch.inference_mode():
        expert = Int8Experts(net, latent)._experts[2]
        captured = []
        monkeypatch.setattr(expert, "_later", [])
        monkeypatch.setattr(expert, "_last", lambda codes: captured.append(codes) or codes)
        table = torch.randn(7, 24) * 150 + 60
        rel_y, rel_x = grids(7, 3, 5, 7)
        expert.on_grid(table, rel_y, expert.columns(rel_x), Workspace())
    row = (table[:, None] + rel_y[..., None] * expert._column_y).clamp(0, 255).floor()  # (N, P, C)
    column = (expert._reach_x + 0.5 - rel_x[..., None] * expert._column_x).clamp(0, 255).floor()  # (N, R, C)
    expected = (row[:, :, None] - column[:, None]).clamp_min(0).flatten(0, 2)
    assert (captured[0] != expected).float().mean() < 0.001
    assert (captured[0] - expected).abs().max() <= 1
    assert (expected > 0).float().mean() > 0.2


@pytest.mark.parametrize("unfold", [True, False])
def test_experts_are_close_to_their_own_layers(unfold):
    net, latent = mixture(unfold=unfold), sample(40, 50)
    radius = net.embedding.radius
    padded = torch.nn.functional.pad(latent[:, :, 10:15, 10:17], [radius] * 4)
    rel_cell, pixels = torch.tensor([[0.5, 0.5]]), torch.arange(35)
    rel_y, rel_x = grids(35, 2, 3, 7)
    with torch.inference_mode():
        exact = unfolded_experts(net, padded, rel_cell)
        for j in range(4):
            groups = [pixels if i == j else pixels[:0] for i in range(4)]
            coded = Int8Experts(net, latent).evaluate(padded, rel_cell, groups, rel_x)
            found, expected = (each(j, pixels, rel_y, rel_x[pixels % 7]) for each in (coded, exact))
            spread = expected.flatten(0, 2).std(0).mean()
            assert 0 < (found - expected).std() < 0.1 * spread


def test_latents_far_beyond_the_sample_are_not_covered():
    net, latent = mixture(), sample(20, 30)
    experts = Int8Experts(net, latent)
    assert experts.cover(latent)
    assert experts.cover(1.2 * latent)
    far = latent.clone()
    far[0, 2, 3, 4] = 2 * latent[0, 2].max()
    assert not experts.cover(far)
