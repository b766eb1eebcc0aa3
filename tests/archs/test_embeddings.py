"""Folded first layers match the first layer on the full embedding."""

import pytest
import torch
from references import features_at
from torch import nn
from torch.nn import functional as F

from moeisr_plugin.archs.embeddings import LIIFEmbedding, LTEEmbedding
from moeisr_plugin.ops.workspace import Workspace

HEIGHT, WIDTH, CHANNELS = 4, 5, 3
EMBEDDINGS = {
    "LIIF": lambda: LIIFEmbedding(latent_channels=CHANNELS),
    "LIIF no unfold": lambda: LIIFEmbedding(latent_channels=CHANNELS, unfold=False),
    "LIIF no cell": lambda: LIIFEmbedding(latent_channels=CHANNELS, cell_decode=False),
    "LTE": lambda: LTEEmbedding(latent_channels=CHANNELS, num_freq_features=8),
}


def case(name, batch=2):
    torch.manual_seed(0)
    embedding = EMBEDDINGS[name]().double()
    firsts = [nn.Linear(embedding.in_features, 6).double() for _ in range(3)]
    latent = torch.randn(batch, CHANNELS, HEIGHT, WIDTH).double()
    padded = F.pad(latent, [embedding.radius] * 4)
    rel_cell = torch.tensor([[0.5, 0.7], [1.3, 2.0]]).double()[:batch]
    index = torch.randint(batch * HEIGHT * WIDTH, (40,))
    rel = torch.rand(40, 2).double() * 2 - 1
    return embedding, firsts, padded, rel_cell, index, rel


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_folded_first_layers_match_those_on_the_full_embedding(name, batch):
    embedding, firsts, padded, rel_cell, index, rel = case(name, batch)
    features = features_at(embedding, padded, rel_cell, index, rel)
    assert features.shape == (40, embedding.in_features)
    terms = embedding.precompute(padded, rel_cell, firsts)
    for expert, (first, folded) in enumerate(zip(firsts, terms.first_layers(index, rel), strict=True)):
        torch.testing.assert_close(folded, first(features), rtol=0, atol=1e-12)
        torch.testing.assert_close(terms.first_layer(expert, index, rel), folded)


@pytest.mark.parametrize("gathered", [1, 7, 4096])
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_terms_of_groups_match_those_of_all_experts(name, gathered, monkeypatch):
    monkeypatch.setattr("moeisr_plugin.archs.embeddings.liif._GATHERED_PIXELS", {"cpu": gathered})
    embedding, firsts, padded, rel_cell, index, rel = case(name)
    choice = torch.randint(2, (2 * HEIGHT * WIDTH,)) * 2  # no pixel is routed to expert 1
    groups = [(choice == expert).nonzero()[:, 0] for expert in range(3)]
    terms = embedding.precompute(padded, rel_cell, firsts, groups)
    everything = embedding.precompute(padded, rel_cell, firsts).first_layers(index, rel)
    for expert in (0, 2):
        own = choice[index] == expert
        folded = terms.first_layer(expert, index[own], rel[own])
        torch.testing.assert_close(folded, everything[expert][own], rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", EMBEDDINGS)
@torch.no_grad()
def test_first_layer_on_a_grid_matches_single_queries(name, batch):
    embedding, firsts, padded, rel_cell, index, _ = case(name, batch)
    terms = embedding.precompute(padded, rel_cell, firsts)
    rel_y, rel_x = torch.rand(40, 3).double() * 2 - 1, torch.rand(40, 5).double() * 2 - 1
    grids, workspace = rel_y.new_empty(40, 3, 5, 6), Workspace()
    for part in (slice(0, 9), slice(9, 33), slice(33, 40)):  # buffers are new, then too small, then too large
        pixels = (index[part], rel_y[part], rel_x[part])
        grids[part] = terms.first_layer_on_grid(1, *pixels, workspace=workspace)
    for row in range(3):
        for column in range(5):
            rel = torch.stack([rel_y[:, row], rel_x[:, column]], dim=1)
            expected = terms.first_layer(1, index, rel)
            torch.testing.assert_close(grids[:, row, column], expected, rtol=0, atol=1e-12)


def test_liif_columns_are_unfolded_latent_then_rel_then_cell():
    embedding, _, padded, rel_cell, *_ = case("LIIF")
    row, column = 2, 1
    index, rel = torch.tensor([HEIGHT * WIDTH + row * WIDTH + column]), torch.tensor([[0.1, -0.2]]).double()
    features = features_at(embedding, padded, rel_cell, index, rel)[0]
    near = padded[1, :, row : row + 3, column : column + 3]
    expected = [near[c, i, j] for c in range(CHANNELS) for i in range(3) for j in range(3)]
    expected += [rel[0, 0], rel[0, 1], rel_cell[1, 0], rel_cell[1, 1]]
    torch.testing.assert_close(features, torch.stack(expected))


def test_lte_frequencies_are_consecutive_pairs():
    embedding, _, padded, rel_cell, *_ = case("LTE")
    row, column, rel = 3, 0, torch.tensor([[0.3, -0.8]]).double()
    index = torch.tensor([row * WIDTH + column])
    coef = F.conv2d(padded, embedding.coef.weight, embedding.coef.bias)[0, :, row, column]
    freq = F.conv2d(padded, embedding.freq.weight, embedding.freq.bias)[0, :, row, column]
    phase = embedding.phase.weight @ rel_cell[0]
    angles = torch.stack([freq[2 * k] * 0.3 - freq[2 * k + 1] * 0.8 + phase[k] for k in range(4)]) * torch.pi
    expected = coef * torch.cat([angles.cos(), angles.sin()])
    torch.testing.assert_close(features_at(embedding, padded, rel_cell, index, rel)[0], expected)


def test_cell_relative_to_a_latent():
    liif, lte = EMBEDDINGS["LIIF"](), EMBEDDINGS["LTE"]()
    assert liif.rel_cell((30, 100), (10, 10)) == pytest.approx((2 / 3, 0.2))
    assert lte.rel_cell((30, 100), (10, 10)) == pytest.approx((2 / 3, 0.5))  # clipped to the cell at x4
