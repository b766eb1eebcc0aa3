"""Routing: gates, random assignment, soft mixture and hard dispatch."""

import math

import pytest
import torch
from references import features_at

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.embeddings import LIIFEmbedding
from moeisr_plugin.archs.experts import Expert


def scores_of(batch=2, num_experts=4, height=5, width=7):
    return torch.randn(batch, num_experts, height, width, generator=torch.Generator().manual_seed(0))


def test_gumbel_gates_have_the_gumbel_softmax_distribution():
    scores = scores_of(height=100, width=100)
    gates = routing.gumbel_gates(scores, tau=2.0, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(gates.sum(1), torch.ones(2, 100, 100))
    # log(gates) = (scores + noise) / tau + a constant per pixel. So differences between experts reveal the
    # difference of two Gumbel variables, which is logistic with variance π²/3.
    difference = (gates[:, 0].log() - gates[:, 1].log()) * 2.0 - (scores[:, 0] - scores[:, 1])
    assert difference.mean().item() == pytest.approx(0, abs=0.05)
    assert difference.var().item() == pytest.approx(math.pi**2 / 3, rel=0.05)
    # The arg max of scores plus noise is an expert with its softmax probability.
    even = torch.zeros(1, 4, 100, 100)
    even[:, 3] = math.log(3)  # half of the pixels
    shares = torch.bincount(routing.gumbel_gates(even).argmax(1).flatten(), minlength=4) / 10_000
    torch.testing.assert_close(shares, torch.tensor([1 / 6, 1 / 6, 1 / 6, 1 / 2]), rtol=0, atol=0.03)


def test_gumbel_gates_depend_only_on_the_seed():
    scores = scores_of()
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(routing.gumbel_gates(scores))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    by_generator = [routing.gumbel_gates(scores, generator=torch.Generator().manual_seed(5)) for _ in "ab"]
    assert torch.equal(*by_generator)


def test_random_choice_is_uniform():
    maps = torch.empty(2, 3, 50, 50)
    choice = routing.random_choice(maps, range(4), generator=torch.Generator().manual_seed(0))
    assert choice.shape == (2, 50, 50)
    torch.testing.assert_close(choice.flatten().bincount() / 5000, torch.full((4,), 0.25), rtol=0, atol=0.03)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_random_choice_draws_as_randint_in_every_layout(layout):
    maps = torch.zeros(2, 3, 5, 7).to(memory_format=layout)
    expected = torch.randint(4, (2, 5, 7), generator=torch.Generator().manual_seed(0))
    choice = routing.random_choice(maps, range(4), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(choice, expected, rtol=0, atol=0)


def test_random_gates_are_the_one_hot_random_choice():
    scores = scores_of()
    choice = routing.random_choice(scores, range(4), generator=torch.Generator().manual_seed(0))
    gates = routing.random_gates(scores, generator=torch.Generator().manual_seed(0))
    assert torch.equal(gates.argmax(1), choice)
    assert torch.equal(gates.sum(1), torch.ones(2, 5, 7))
    assert set(gates.unique().tolist()) == {0.0, 1.0}


def test_shuffled_scores_keep_the_shares_of_each_image():
    scores = scores_of()
    shuffled = routing.shuffle_scores(scores, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(shuffled, scores)
    for sample in range(2):
        rows = [tuple(row) for row in scores[sample].flatten(1).t().tolist()]
        assert sorted(rows) == sorted(tuple(row) for row in shuffled[sample].flatten(1).t().tolist())


def test_use_everywhere_chooses_one_expert():
    assert (routing.choose_expert(routing.use_everywhere(scores_of(), 2)) == 2).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_first_of_equal_scores_is_chosen(dtype):
    scores = (2 * scores_of(height=31, width=45)).round().to(dtype)
    best = scores.amax(1, keepdim=True)
    assert ((scores == best).sum(1) > 1).any()
    expected = torch.full((2, 31, 45), -1)
    for expert in reversed(range(4)):
        expected[scores[:, expert] == best[:, 0]] = expert
    assert torch.equal(routing.choose_expert(scores), expected)
    assert torch.equal(routing.choose_expert(scores.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [1], [0, 3]])
def test_dispatch_and_mixture_match_all_experts_evaluated(chosen):
    torch.manual_seed(0)
    embedding = LIIFEmbedding(latent_channels=3)
    experts = [Expert(in_features=embedding.in_features, hidden_dim=6, depth=depth) for depth in (2, 3, 4, 5)]
    latent, rel_cell = torch.randn(2, 3, 7, 9), torch.rand(2, 2)
    scores = scores_of()
    scores[:, [j for j in range(4) if j not in chosen]] = -100
    choice = scores.argmax(1).flatten()
    assert choice.unique().tolist() == chosen
    index, rel = torch.randint(2 * 5 * 7, (300,)), torch.rand(300, 2)
    features = features_at(embedding, latent, rel_cell, index, rel)
    every_output = torch.stack([expert(features) for expert in experts])  # (J, N, 3)
    groups = routing.group_by_expert(choice, 4)
    terms = embedding.precompute(latent, rel_cell, [expert.first for expert in experts], groups)
    outputs = routing.dispatch_experts(experts, terms, routing.group_by_expert(choice[index], 4), index, rel)
    torch.testing.assert_close(outputs, every_output[choice[index], torch.arange(300)])

    gates = routing.gumbel_gates(scores)
    terms = embedding.precompute(latent, rel_cell, [expert.first for expert in experts])
    weights = torch.stack([gates[k // 35, :, k // 7 % 5, k % 7] for k in index.tolist()], dim=1)  # (J, N)
    expected = (every_output * weights[..., None]).sum(0)
    torch.testing.assert_close(routing.mix_experts(experts, terms, gates, index, rel), expected)
