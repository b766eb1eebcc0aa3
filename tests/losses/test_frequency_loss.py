"""The frequency loss matches an explicit Fourier sum."""

import cmath

import pytest
import torch
from basicsr.losses import build_loss


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_matches_the_sum_over_pixels(reduction):
    height, width = 3, 5
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(2, 1, height, width, generator=generator, dtype=torch.float64) for _ in "ab")
    loss = build_loss({"type": "FrequencyLoss", "loss_weight": 0.5, "reduction": reduction})
    parts = []
    for picture in (one - other)[:, 0].tolist():
        for v in range(height):
            for u in range(width // 2 + 1):
                value = (
                    sum(
                        picture[y][x] * cmath.exp(-2j * cmath.pi * (v * y / height + u * x / width))
                        for y in range(height)
                        for x in range(width)
                    )
                    / (height * width) ** 0.5
                )
                parts += [abs(value.real), abs(value.imag)]
    expected = 0.5 * (sum(parts) / len(parts) if reduction == "mean" else sum(parts))
    assert loss(one, other).item() == pytest.approx(expected, rel=1e-12)


def test_gradient_matches_finite_differences():
    loss = build_loss({"type": "FrequencyLoss"})
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(1, 2, 3, 4, generator=generator, dtype=torch.float64) for _ in "ab")
    torch.autograd.gradcheck(loss, (one.requires_grad_(), other))


def test_16_bits_are_compared_in_float32():
    pictures = torch.rand(2, 1, 3, 6, 7, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert build_loss({"type": "FrequencyLoss"})(*pictures).dtype == torch.float32


def test_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="FrequencyLoss: reduction is 'none'; give mean or sum"):
        build_loss({"type": "FrequencyLoss", "reduction": "none"})
