"""Gathered rows: their values, and gradients that are deterministic."""

import pytest
import torch
from basicsr.archs import build_network

from moeisr_plugin.archs import routing
from moeisr_plugin.ops.rows import gather_rows


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(7,), (7, 5), (7, 3, 2)])
def test_rows_and_gradient_match_a_loop(shape):
    generator = torch.Generator().manual_seed(0)
    table = torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    index = torch.randint(6, (40,), generator=generator)  # the last row is not gathered
    rows = gather_rows(table, index)
    assert torch.equal(rows, torch.stack([table[i] for i in index.tolist()]))
    weight = torch.rand(rows.shape, generator=generator, dtype=torch.float64)
    rows.mul(weight).sum().backward()
    expected = torch.stack([weight[index == row].sum(0) for row in range(len(table))])
    torch.testing.assert_close(table.grad, expected)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("kind", ["MoEISRLIIF", "MoEISRLTE"])
@pytest.mark.parametrize("assigned", [False, True])
def test_gradients_of_a_network_are_deterministic(kind, assigned):
    torch.manual_seed(0)
    encoder = {"type": "EDSREncoder", "num_feat": 8, "num_block": 1}
    net = build_network({"type": kind, "encoder": encoder, "hidden_dim": 64}).train()
    lr, coord, cell = torch.rand(4, 3, 20, 23), torch.rand(4, 1500, 2) * 2 - 1, torch.full((4, 2), 0.04)
    choice = routing.random_choice(lr, range(len(net.experts))) if assigned else None

    def gradients():
        torch.manual_seed(1)
        net.zero_grad()
        net(lr, coord, cell, choice=choice).rgb.square().mean().backward()
        return [p.grad.clone() for p in net.parameters() if p.grad is not None]

    first = gradients()
    for _ in range(4):
        assert all(map(torch.equal, gradients(), first))
