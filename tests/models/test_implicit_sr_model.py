"""The model class: training phases, logs, averages and checkpoints."""

import numpy as np
import pytest
import torch
from basicsr.models import build_model
from tiny_trainings import loader, options, train

from moeisr_plugin import render
from moeisr_plugin.checkpoints.network import network_from, read_checkpoint, save_checkpoint
from moeisr_plugin.data.lmdb_recipe import Recipe
from moeisr_plugin.data.lmdb_writing import write_lmdb


def test_logs_losses_and_routing(photographs, tmp_path):
    _, logs = train(options(photographs, tmp_path), 2)
    assert set(logs[0]) == {"l_pix", "l_balance"}
    shares = [logs[1][f"share_d{depth}"] for depth in (2, 3, 4, 5)]
    assert sum(shares) == pytest.approx(1)
    assert 0.25 <= logs[1]["confidence"] <= 1
    assert -1 <= logs[1]["depth_corr"] <= 1


def test_losses_equal_those_of_a_plain_step(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    _, (log, *_) = train(opt, 1)
    torch.manual_seed(0)
    reference = build_model(opt | {"train": options(photographs, tmp_path)["train"]})
    batch = next(iter(loader(opt, "train")))
    net = reference.net_g
    decoding = net(batch["lq"], batch["coord"], batch["cell"])
    load = decoding.scores.softmax(1).sum((0, 2, 3)).detach().numpy().astype(np.float64)
    num_pixels = 2 * 12 * 12
    assert log["l_pix"] == pytest.approx(6000 * (decoding.rgb - batch["gt"]).abs().mean().item(), rel=1e-5)
    assert log["l_balance"] == pytest.approx(20 * np.abs(load - num_pixels / 4).sum() / num_pixels, rel=1e-3)


def test_training_is_reproducible_and_reduces_the_loss(photographs, tmp_path):
    _, first = train(options(photographs, tmp_path), 40)
    _, second = train(options(photographs, tmp_path), 40)
    assert first == second
    losses = [log["l_pix"] for log in first]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


@pytest.mark.parametrize("workers", [0, 1])
def test_lmdb_folder_and_memory_give_the_same_losses(photographs, tmp_path, workers):
    write_lmdb(tmp_path / "photographs.lmdb", Recipe([photographs]))
    lmdb = {"dataroot_gt": str(tmp_path / "photographs.lmdb"), "io_backend": {"type": "lmdb"}}
    logs = []
    for change in ({}, lmdb, {"cache": "memory"}, {**lmdb, "cache": "memory"}):
        opt = options(photographs, tmp_path)
        opt["datasets"]["train"].update(num_worker_per_gpu=workers, **change)
        logs.append(train(opt, 4)[1])
    assert logs[0] == logs[1] == logs[2] == logs[3]


def test_mapper_does_not_learn_during_random_routing(photographs, tmp_path):
    opt = options(photographs, tmp_path, random_gates_iter=1)
    opt["train"]["balance_opt"] = None
    model, _ = train(opt, 1)
    assert all(p.grad is None or not p.grad.any() for p in model.net_g.mapper.parameters())
    model, _ = train(options(photographs, tmp_path, random_gates_iter=1), 2)
    assert all(p.grad.any() for p in model.net_g.mapper.parameters())


def test_only_the_mapper_learns_in_the_last_iterations(photographs, tmp_path):
    opt = options(photographs, tmp_path, total_iter=3, mapper_alone_iter=2)
    torch.manual_seed(0)
    model, batches = build_model(opt), loader(opt, "train")
    for current_iter in (1, 2, 3):
        before = {name: p.detach().clone() for name, p in model.net_g.named_parameters()}
        model.feed_data(next(iter(batches)))
        model.optimize_parameters(current_iter)
        moved = {name for name, p in model.net_g.named_parameters() if not torch.equal(p, before[name])}
        mapper = {name for name in before if name.startswith("mapper.")}
        assert moved == mapper if current_iter > 1 else moved > mapper


def test_freezing_the_rest_keeps_the_gradient_of_the_mapper(photographs, tmp_path):
    gradients = []
    for alone in (0, 1):
        model, _ = train(options(photographs, tmp_path, total_iter=1, mapper_alone_iter=alone), 1)
        gradients.append({name: p.grad for name, p in model.net_g.named_parameters() if p.grad is not None})
    unfrozen, frozen = gradients
    assert frozen.keys() == {name for name in unfrozen if name.startswith("mapper.")} < unfrozen.keys()
    assert all(gradient.any() and torch.equal(gradient, unfrozen[name]) for name, gradient in frozen.items())


def test_average_of_the_weights_is_exponential(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    torch.manual_seed(0)
    model = build_model(opt)
    average = [p.detach().clone() for p in model.net_g.parameters()]
    batches = loader(opt, "train")
    for current_iter in (1, 2, 3):
        model.feed_data(next(iter(batches)))
        model.optimize_parameters(current_iter)
        average = [0.9 * a + 0.1 * p for a, p in zip(average, model.net_g.parameters(), strict=True)]
    for a, p in zip(average, model.net_g_ema.parameters(), strict=True):
        torch.testing.assert_close(a, p)


def test_average_of_the_mapper_excludes_the_time_of_random_routing(photographs, tmp_path):
    opt = options(photographs, tmp_path, random_gates_iter=2)
    torch.manual_seed(0)
    model = build_model(opt)
    mapper, average = (net.mapper.state_dict() for net in (model.net_g, model.net_g_ema))
    first = {name: value.clone() for name, value in mapper.items()}
    batches = loader(opt, "train")
    learnt = []
    for current_iter in range(1, 6):
        model.feed_data(next(iter(batches)))
        model.optimize_parameters(current_iter)
        if current_iter <= 2:
            assert all(torch.equal(average[name], first[name]) for name in first)
        else:
            learnt.append({name: value.clone() for name, value in mapper.items()})
    weights = [0.9**age * 0.1 for age in (2, 1, 0)]
    for name in first:
        mean = sum(w * values[name] for w, values in zip(weights, learnt, strict=True)) / sum(weights)
        torch.testing.assert_close(average[name], mean, rtol=1e-5, atol=1e-6)


def test_checkpoint_rebuilds_the_network(photographs, tmp_path):
    model, _ = train(options(photographs, tmp_path), 1)
    model.save(epoch=0, current_iter=1)
    net = network_from(tmp_path / "net_g_1.pth")
    lr = torch.rand(1, 3, 9, 7)
    expected = render.render(model.net_g_ema, render.encode(model.net_g_ema, lr), (20, 31))
    torch.testing.assert_close(render.render(net, render.encode(net, lr), (20, 31)), expected)
    save_checkpoint(tmp_path / "net.safetensors", read_checkpoint(tmp_path / "net_g_1.pth"))
    for name in ("net_g_1.pth", "net.safetensors"):
        opt = options(photographs, tmp_path)
        opt["path"].update(pretrain_network_g=str(tmp_path / name), strict_load_g=True, param_key_g="params")
        again = build_model(opt)
        for a, b in zip(again.net_g.parameters(), model.net_g.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_losses_of_pictures_need_pictures(photographs, tmp_path):
    with pytest.raises(ValueError, match=r"tv_opt: needs whole patches; set datasets\.train\.sample_q: all"):
        train(options(photographs, tmp_path, tv_opt={"type": "WeightedTVLoss"}), 1)
