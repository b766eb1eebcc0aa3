"""The plain reference answers as the equations written out, and as the package's engine."""

import importlib
from pathlib import Path

import pytest
import torch
from references import TINY_ENCODER, Reference, grid_queries, lively, picture, queries

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE

NETWORKS = {
    "LIIF": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "LIIF, bare": lambda: LIIF(
        encoder=TINY_ENCODER, hidden_dim=6, unfold=False, cell_decode=False, local_ensemble=False
    ),
    "LTE": lambda: LTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "MoEISRLTE": lambda: MoEISRLTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
}


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    return importlib.import_module("plain_decoders")


def close(actual, expected, *, tolerance):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("lr_size", "size"), [((5, 7), (13, 23)), ((5, 4), (12, 16)), ((1, 3), (2, 8))])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_grid_is_what_the_papers_say(name, lr_size, size, plain):
    net, lr = lively(NETWORKS[name]()).double().eval(), picture(2, *lr_size)
    scales = [n / n_lr for n, n_lr in zip(size, lr_size, strict=True)]
    clip = [max(scale / 4, 1) if name.endswith("LTE") else 1 for scale in scales]
    cell = torch.tensor([[2 / n * c for n, c in zip(size, clip, strict=True)]] * 2, dtype=torch.float64)
    coord = grid_queries(2, *size)
    expected = Reference(net)(lr, coord, cell)
    rendered = plain.render(net, plain.encode(net, lr), size, chunk=50)
    assert rendered.shape == (2, 3, *size)
    # Queries on the centres of the last row and column are left to rounding by LIIF's formula.
    last = (1 - 1 / torch.tensor(lr_size, dtype=torch.float64) - coord[0]).abs() < 1e-12
    decided = ~last.any(dim=1)
    close(rendered.flatten(2).mT[:, decided], expected[:, decided], tolerance=1e-9)


@pytest.mark.parametrize("size", [(15, 21), (11, 17), (38, 29)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_engine_renders_the_same_in_float32(name, size, plain):
    net = lively(NETWORKS[name]()).eval()
    encoding = render.encode(net, picture(1, 5, 7).float())
    close(plain.render(net, encoding, size), render.render(net, encoding, size), tolerance=2e-4)


def test_scores_that_are_put_in_decide_the_expert(plain):
    net = lively(NETWORKS["MoEISRLIIF"]()).double().eval()
    encoding = plain.encode(net, picture(1, 5, 7))
    pictures = []
    for j in range(4):
        scores = torch.zeros_like(encoding.scores).index_fill(1, torch.tensor(j), 1)
        chosen = encoding._replace(scores=scores)
        pictures.append(plain.render(net, chosen, (9, 16)))
        close(pictures[j], render.render(net, chosen, (9, 16)), tolerance=1e-9)
    assert (pictures[0] - pictures[3]).abs().max() > 0.01


@pytest.mark.parametrize("name", NETWORKS)
def test_training_mixes_all_experts(name, plain):
    net, lr = lively(NETWORKS[name]()).double().train(), picture(2, 5, 7)
    coord, cell = queries(2, 5, 7, 20), torch.tensor([[0.2, 0.13], [0.11, 0.3]], dtype=torch.float64)
    encoding = net.encode(lr)
    gates = encoding.scores.softmax(1)
    mixed = plain.mix(net, encoding, coord, cell, gates)
    close(mixed, Reference(net)(lr, coord, cell, gate=lambda scores: scores.softmax(1)), tolerance=1e-9)

    packaged = net.mix(encoding, coord, cell, gate=lambda scores: scores.softmax(1))
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    for ours, theirs in zip(
        *(
            torch.autograd.grad(rgb.square().sum(), parameters, retain_graph=True, allow_unused=True)
            for rgb in (mixed, packaged)
        ),
        strict=True,
    ):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            close(ours, theirs, tolerance=1e-8)


def test_autocasting_keeps_coordinates_precise(plain):
    """bfloat16 cannot tell the columns of a wide picture apart."""
    net, lr, size = lively(NETWORKS["MoEISRLIIF"]()).eval(), picture(1, 3, 200).float(), (7, 600)
    encoding = plain.encode(net, lr)
    exact = plain.render(net, encoding, size)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = plain.render(net, encoding, size)
    assert not torch.equal(rounded, exact)
    noise = (rounded - exact).square().mean() / exact.var()
    assert -10 * noise.log10() > 35


@pytest.mark.parametrize("chunk", [1, 37, 10**6])
def test_chunks_do_not_show(chunk, plain):
    net = lively(NETWORKS["MoEISRLTE"]()).double().eval()
    encoding = plain.encode(net, picture(1, 3, 4))
    close(
        plain.render(net, encoding, (5, 9), chunk=chunk), plain.render(net, encoding, (5, 9)), tolerance=1e-12
    )
