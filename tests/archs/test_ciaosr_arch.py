"""CiaoSR and its mixture, against a loop over queries in float64."""

import numpy as np
import pytest
import torch
import yaml
from ciaosr_per_query import colours
from references import TINY_ENCODER, lively, picture
from torch.nn import functional as F
from trainings import finish, options, printed, run_cli, start

from moeisr_plugin import render
from moeisr_plugin.archs.ciaosr_arch import CiaoSR, MoEISRCiaoSR
from moeisr_plugin.archs.cross_scale_attention import CrossScaleAttention
from moeisr_plugin.render.complexity import executed_macs, extreme_workloads
from moeisr_plugin.render.routing_report import share_per_depth


def made(kind, **parameters):
    return lively(kind(encoder=TINY_ENCODER, hidden_dim=6, depth=3, **parameters)).eval()


def expected(net, lr, coord, cell, gates):
    """The colours of one image by the independent version, (Q, 3)."""
    latent = net.encoder(2 * lr.float() - 1)
    arrays = [each[0].detach().double().numpy() for each in (latent, lr, coord, cell, gates)]
    return torch.tensor(colours(net, *arrays))


def places(count, *, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, count, 2, generator=generator) * 2 - 1


@pytest.mark.parametrize("size", [(5, 7), (4, 3), (1, 6)])
@pytest.mark.parametrize("scales", [(), (2,), (2, 3)])
@pytest.mark.parametrize("ensemble", [True, False])
def test_ciaosr(size, scales, ensemble):
    if scales and min(size) < 2:
        pytest.skip("the independent version reflects two pixels or more")
    net = made(CiaoSR, non_local_scales=scales, local_ensemble=ensemble)
    lr, coord, cell = picture(1, *size).float(), places(6), torch.tensor([[0.11, 0.07]])
    gates = torch.ones(1, 1, *size)
    with torch.no_grad():
        rgb = net(lr, coord, cell).rgb[0].double()
    torch.testing.assert_close(rgb, expected(net, lr, coord, cell, gates), rtol=2e-5, atol=2e-5)


def test_mixture_in_training_and_dispatch():
    net = made(MoEISRCiaoSR, expert_depths=(2, 3, 4), non_local_scales=(2,), mapper_depth=1)
    lr, coord, cell = picture(1, 5, 7).float(), places(8), torch.tensor([[0.11, 0.07]])
    with torch.no_grad():
        scores = net.encode(lr).scores
        assert share_per_depth(net, scores).keys() == {"share_d2", "share_d3", "share_d4"}
        hard = F.one_hot(scores.argmax(1), 3).movedim(-1, 1).float()
        routed = net(lr, coord, cell).rgb[0].double()
        random = torch.randint(3, (1, 5, 7), generator=torch.Generator().manual_seed(0))
        chosen = net(lr, coord, cell, choice=random).rgb[0].double()
        mixed = net.train()(lr, coord, cell, gate=lambda s: s.softmax(1)).rgb[0].double()
    one_hot = F.one_hot(random, 3).movedim(-1, 1).float()
    for rgb, gates in ((routed, hard), (chosen, one_hot), (mixed, scores.softmax(1))):
        torch.testing.assert_close(rgb, expected(net, lr, coord, cell, gates), rtol=2e-5, atol=2e-5)


def test_attention_in_strips_equals_that_of_the_whole_image(monkeypatch):
    attention = lively(CrossScaleAttention(channels=4, scales=(2, 3)))
    latent = torch.rand(2, 4, 7, 8)
    with torch.no_grad():
        whole = attention(latent)
        monkeypatch.setattr("moeisr_plugin.archs.cross_scale_attention._HELD", 1)
        torch.testing.assert_close(attention(latent), whole, rtol=1e-5, atol=1e-6)


def test_gradients_reach_all_parameters():
    net = made(MoEISRCiaoSR, expert_depths=(2, 3), non_local_scales=(2,)).train()
    net(picture(2, 6, 5).float(), places(9).expand(2, -1, -1), torch.full((2, 2), 0.1)).rgb.sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("kind", [CiaoSR, MoEISRCiaoSR])
def test_render_in_chunks_and_macs(kind):
    net = made(kind, non_local_scales=(2,))
    net.queries_at_a_time = 50
    lr, size = picture(1, 6, 7).float(), (13, 20)
    encoding = render.encode(net, lr)
    found = render.render(net, encoding, size)
    axes = [-1 + (2 * torch.arange(n) + 1) / n for n in size]
    coord = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(1, -1, 2)
    with torch.no_grad():
        rgb = net(lr, coord, torch.tensor([[2 / 13, 2 / 20]])).rgb
    torch.testing.assert_close(found, rgb.mT.unflatten(2, size), rtol=0, atol=5e-5 * rgb.abs().max())
    works = extreme_workloads(net, (6, 7), size)
    queries = 4 * 13 * 20
    assert [sum(work.queries) for work in works] == [queries] * len(works)
    experts = [net.expert_list[0], net.expert_list[-1]][: len(works)]
    between = executed_macs(net, works[-1]) - executed_macs(net, works[0])
    assert between == pytest.approx(queries * (experts[-1].macs() - experts[0].macs()), rel=1e-3)


def test_budget_moves_from_the_shallowest_to_the_deepest_expert():
    net = made(MoEISRCiaoSR, expert_depths=(2, 4), non_local_scales=())
    encoding = render.encode(net, picture(1, 6, 7).float())
    shares = [
        render.within_budget(net, encoding, budget).scores.argmax(1).float().mean().item()
        for budget in (0, 0.5, 1)
    ]
    assert shares == [0.0, 0.5, 1.0]


@pytest.mark.slow
def test_training_and_commands(tmp_path, photographs):
    opt = options(photographs)
    opt["network_g"] = {
        "type": "MoEISRCiaoSR",
        "encoder": TINY_ENCODER,
        "hidden_dim": 6,
        "depth": 2,
        "expert_depths": [2, 3],
        "mapper_depth": 1,
        "non_local_scales": [2],
    }
    opt["train"] |= {"random_gates_iter": 3, "mapper_alone_iter": 3}
    opt["datasets"].pop("val_2")
    assert finish(start(tmp_path, opt)) == [0], printed(tmp_path)
    weights = tmp_path / "experiments/tiny/models/net_g_latest.pth"
    code, text = run_cli(
        tmp_path, "evaluate", "--weights", weights, "--data", photographs, "--scales", 2, "--budgets", 2
    )
    assert code == 0, text
    assert np.isfinite(float(text.split("net_g_latest |")[1].split("|")[1])), text
    assert yaml.safe_load((tmp_path / "experiments/tiny/options.yml").read_text())["network_g"]["depth"] == 2
