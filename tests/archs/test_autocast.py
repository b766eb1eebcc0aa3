"""Autocast: layers compute in 16 bits; coordinates, LTE angles, gates and rendering stay in float32."""

from functools import partial

import pytest
import torch
from basicsr.archs import build_network
from references import TINY_ENCODER, lively, picture, queries

from moeisr_plugin import render
from moeisr_plugin.archs import routing

DECODERS = ("LIIF", "LTE", "MoEISRLIIF", "MoEISRLTE")
SOFTMAX = partial(torch.softmax, dim=1)
bfloat16 = partial(torch.autocast, "cpu", dtype=torch.bfloat16)


def network(decoder):
    return lively(build_network({"type": decoder, "encoder": TINY_ENCODER, "hidden_dim": 16}))


def arguments():
    return picture(2, 7, 9).float(), queries(2, 7, 9, 60).float(), torch.tensor([[0.1, 0.07], [0.2, 0.05]])


@pytest.mark.parametrize("decoder", DECODERS)
def test_gradients_in_bfloat16_point_in_the_direction_of_those_in_float32(decoder):
    net = network(decoder).train()
    directions = []
    for autocast in (bfloat16(enabled=False), bfloat16()):
        net.zero_grad()
        with autocast:
            rgb, scores = net(*arguments(), gate=SOFTMAX)
        assert rgb.dtype == scores.dtype == torch.float32
        (rgb * torch.linspace(-1, 1, rgb.numel()).view_as(rgb)).sum().backward()
        directions.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    # The random frequencies are high, so LTE amplifies the rounding of the latent.
    assert torch.cosine_similarity(*directions, dim=0) > (0.9 if "LTE" in decoder else 0.99)
    assert (directions[0] != directions[1]).any()


@pytest.mark.parametrize("decoder", DECODERS)
def test_hard_dispatch_in_bfloat16_is_close_to_float32(decoder):
    net = network(decoder).eval()
    lr, coord, cell = arguments()
    with torch.no_grad():
        precise = net.encode(lr)
        expected = net.dispatch(precise, coord, cell)
        with bfloat16():
            coarse = net.encode(lr)
            # The last operation of an encoder decides the type of its latent under autocast.
            for latent in (precise.latent, coarse.latent):
                rgb = net.dispatch(precise._replace(latent=latent), coord, cell)
                assert (rgb - expected).square().mean() < 0.01 * expected.var()
    assert coarse.latent.dtype == torch.bfloat16


@pytest.mark.parametrize("decoder", ["LTE", "MoEISRLTE"])
def test_autocast_does_not_change_the_angles_of_lte(decoder):
    net = network(decoder)
    lr, _, cell = arguments()
    encoding = net.encode(lr)
    expected = net.precompute(encoding, cell)
    with bfloat16():
        terms = net.precompute(encoding, cell)
    assert terms.coef.dtype == torch.bfloat16
    assert torch.equal(terms.freq, expected.freq)
    assert torch.equal(terms.phase, expected.phase)


def test_gates_are_computed_in_float32():
    net = network("MoEISRLIIF")
    with torch.no_grad(), bfloat16():
        scores = net.encode(picture(1, 200, 200).float()).scores
        gates = routing.gumbel_gates(scores, generator=torch.Generator().manual_seed(0))
    assert scores.dtype == torch.bfloat16
    assert torch.equal(
        gates, routing.gumbel_gates(scores.float(), generator=torch.Generator().manual_seed(0))
    )


@pytest.mark.parametrize("decoder", DECODERS)
def test_autocast_does_not_change_rendering(decoder):
    net = network(decoder).eval()
    lr = picture(1, 7, 9).float()
    expected = render.render(net, render.encode(net, lr), (20, 31))
    with bfloat16():
        rendered = render.render(net, render.encode(net, lr), (20, 31))
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(rendered, expected)
