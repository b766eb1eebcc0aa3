"""The model class: what it trains, logs, validates and saves."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.models import build_model
from picture_files import noise
from PIL import Image

from moeisr_plugin import render
from moeisr_plugin.checkpoints import network_from, read_checkpoint, save_checkpoint
from moeisr_plugin.data.lmdb_recipe import Recipe
from moeisr_plugin.data.lmdb_writing import write_lmdb
from moeisr_plugin.models.implicit_sr_model import dataset_label


def options(photographs, root, **train):
    return {
        "name": "tiny",
        "model_type": "ImplicitSRModel",
        "num_gpu": 0,
        "manual_seed": 0,
        "dist": False,
        "rank": 0,
        "world_size": 1,
        "is_train": True,
        "datasets": {
            "train": {
                "name": "photographs",
                "type": "ArbitraryScaleDataset",
                "phase": "train",
                "dataroot_gt": str(photographs),
                "io_backend": {"type": "disk"},
                "lr_size": 12,
                "sample_q": 80,
                "num_worker_per_gpu": 0,
                "batch_size_per_gpu": 2,
            },
            **{f"val_{i}": validation_set(photographs, scale) for i, scale in enumerate([2, 3.7, [2, 3.5]])},
        },
        "network_g": {
            "type": "MoEISRLIIF",
            "encoder": {"type": "EDSREncoder", "num_feat": 8, "num_block": 1},
            "hidden_dim": 16,
        },
        "path": {
            "pretrain_network_g": None,
            "models": str(root),
            "training_states": str(root),
            "visualization": str(root / "visualization"),
        },
        "train": {
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [100], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 6000.0, "reduction": "mean"},
            "balance_opt": {"type": "BalanceLoss", "loss_weight": 20.0, "reduction": "mean"},
            "ema_decay": 0.9,
            **train,
        },
        "val": {
            "routing_health": True,
            "metrics": {"psnr": {"type": "calculate_psnr_protocol", "better": "higher"}},
        },
        "logger": {"print_freq": 2},
    }


def validation_set(photographs, scale):
    return {
        "name": "photographs",
        "type": "ScaleValidationDataset",
        "phase": "val",
        "dataroot_gt": str(photographs),
        "io_backend": {"type": "disk"},
        "scale": scale,
        "protocol": "benchmark",
    }


def loader(opt, phase):
    dataset = build_dataset(opt["datasets"][phase])
    return build_dataloader(dataset, opt["datasets"][phase], num_gpu=0, dist=False, sampler=None, seed=0)


def train(opt, iterations):
    """The model after so many iterations, and what it logged but for what a clock says."""
    torch.manual_seed(0)
    model = build_model(opt)
    batches = loader(opt, "train")
    logs = []
    for current_iter in range(1, iterations + 1):
        model.feed_data(next(iter(batches)))
        model.optimize_parameters(current_iter)
        log = model.get_current_log()
        logs.append({name: log[name] for name in log if name not in ("samples_per_s", "data_wait")})
    return model, logs


def test_logs_both_losses_and_at_times_the_routing(photographs, tmp_path):
    _, logs = train(options(photographs, tmp_path), 2)
    assert set(logs[0]) == {"l_pix", "l_balance"}
    shares = [logs[1][f"share_d{depth}"] for depth in (2, 3, 4, 5)]
    assert sum(shares) == pytest.approx(1)
    assert 0.25 <= logs[1]["confidence"] <= 1
    assert -1 <= logs[1]["depth_corr"] <= 1


def test_the_losses_are_those_of_a_plain_step(photographs, tmp_path):
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


def test_training_is_reproducible_and_learns(photographs, tmp_path):
    _, first = train(options(photographs, tmp_path), 40)
    _, second = train(options(photographs, tmp_path), 40)
    assert first == second
    losses = [log["l_pix"] for log in first]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


@pytest.mark.parametrize("workers", [0, 1])
def test_lmdb_folder_and_memory_train_to_the_same_loss(photographs, tmp_path, workers):
    write_lmdb(tmp_path / "photographs.lmdb", Recipe([photographs]))
    lmdb = {"dataroot_gt": str(tmp_path / "photographs.lmdb"), "io_backend": {"type": "lmdb"}}
    logs = []
    for change in ({}, lmdb, {"cache": "memory"}, {**lmdb, "cache": "memory"}):
        opt = options(photographs, tmp_path)
        opt["datasets"]["train"].update(num_worker_per_gpu=workers, **change)
        logs.append(train(opt, 4)[1])
    assert logs[0] == logs[1] == logs[2] == logs[3]


def test_random_gates_leave_the_mapper_to_the_balance_loss(photographs, tmp_path):
    opt = options(photographs, tmp_path, random_gates_iter=1)
    opt["train"]["balance_opt"] = None
    model, _ = train(opt, 1)
    assert all(p.grad is None or not p.grad.any() for p in model.net_g.mapper.parameters())
    model, _ = train(options(photographs, tmp_path, random_gates_iter=1), 2)
    assert all(p.grad.any() for p in model.net_g.mapper.parameters())


def test_in_the_end_the_mapper_learns_alone(photographs, tmp_path):
    opt = options(photographs, tmp_path, total_iter=3, mapper_alone_iter=2)
    torch.manual_seed(0)
    model, batches = build_model(opt), loader(opt, "train")
    for current_iter in (1, 2, 3):
        before = {name: p.detach().clone() for name, p in model.net_g.named_parameters()}
        model.feed_data(next(iter(batches)))
        model.optimize_parameters(current_iter)
        moved = {name for name, p in model.net_g.named_parameters() if not torch.equal(p, before[name])}
        mappers = {name for name in before if name.startswith("mapper.")}
        assert moved == mappers if current_iter > 1 else moved > mappers


def test_alone_the_mapper_has_the_gradient_that_it_has_among_all(photographs, tmp_path):
    gradients = []
    for alone in (0, 1):
        model, _ = train(options(photographs, tmp_path, total_iter=1, mapper_alone_iter=alone), 1)
        gradients.append({name: p.grad for name, p in model.net_g.named_parameters() if p.grad is not None})
    among_all, own = gradients
    assert own.keys() == {name for name in among_all if name.startswith("mapper.")} < among_all.keys()
    assert all(gradient.any() and torch.equal(gradient, among_all[name]) for name, gradient in own.items())


def test_the_average_of_the_weights_is_exponential(photographs, tmp_path):
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


def test_the_average_of_the_mapper_begins_when_it_begins_to_learn(photographs, tmp_path):
    opt = options(photographs, tmp_path, random_gates_iter=2)
    torch.manual_seed(0)
    model = build_model(opt)
    mapper, average = (net.mapper.state_dict() for net in (model.net_g, model.net_g_ema))
    first = {name: value.clone() for name, value in mapper.items()}
    batches = loader(opt, "train")
    since = []
    for current_iter in range(1, 6):
        model.feed_data(next(iter(batches)))
        model.optimize_parameters(current_iter)
        if current_iter <= 2:
            assert all(torch.equal(average[name], first[name]) for name in first)
        else:
            since.append({name: value.clone() for name, value in mapper.items()})
    weights = [0.9**age * 0.1 for age in (2, 1, 0)]
    for name in first:
        mean = sum(w * values[name] for w, values in zip(weights, since, strict=True)) / sum(weights)
        torch.testing.assert_close(average[name], mean, rtol=1e-5, atol=1e-6)


def test_validates_at_several_scales_and_keeps_the_best(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    model, _ = train(opt, 1)
    for phase in ("val_0", "val_1", "val_2"):
        model.validation(loader(opt, phase), 1, None, save_img=True)
    assert set(model.best_metric_results) == {f"photographs/{scale}" for scale in ("x2", "x3.7", "x2x3.5")}
    assert model.net_g.training
    best = dict(model.best_metric_results["photographs/x2x3.5"]["psnr"])
    with torch.no_grad():
        for parameter in model.net_g_ema.parameters():
            parameter.mul_(3)
    model.validation(loader(opt, "val_2"), 2, None, save_img=False)
    assert model.metric_results["psnr"] < best["val"]
    assert model.best_metric_results["photographs/x2x3.5"]["psnr"] == best


def test_pictures_too_small_to_be_measured_are_named_and_passed_over(photographs, tmp_path, caplog):
    folder = shutil.copytree(photographs, tmp_path / "pictures")
    Image.fromarray(np.zeros((15, 40, 3), np.uint8)).save(folder / "small.png")
    opt = options(folder, tmp_path)
    opt["val"]["metrics"]["ssim"] = {"type": "calculate_ssim_protocol", "better": "higher"}
    model = build_model(opt)
    with caplog.at_level("WARNING", "basicsr"):
        model.validation(loader(opt, "val_1"), 1, None, save_img=False)
    told = "small.png: SSIM needs 11x11 pixels; protocol benchmark leaves 7x29"
    assert [message.rpartition("/")[2] for message in caplog.messages] == [told]
    measured = dict(model.metric_results)
    (folder / "small.png").unlink()
    model.validation(loader(opt, "val_1"), 1, None, save_img=False)
    assert model.metric_results == measured


def test_cudnn_tries_nothing_out_for_the_sizes_of_validation(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    opt = options(photographs, tmp_path)
    model, seen = build_model(opt), []
    model.net_g_ema.register_forward_pre_hook(lambda *_: seen.append(None))
    model.net_g_ema.encoder.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.benchmark))
    model.validation(loader(opt, "val_0"), 1, None, save_img=False)
    assert set(seen) == {False}
    assert torch.backends.cudnn.benchmark


def test_validates_without_metrics(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    opt["val"] = {}
    model, _ = train(opt, 1)
    model.validation(loader(opt, "val_0"), 1, None, save_img=True)
    assert len(list((tmp_path / "visualization" / "photographs" / "x2").iterdir())) == 4


def test_lr_alone_is_enlarged(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    model, _ = train(opt, 1)
    lr_alone = opt["datasets"]["val_1"]
    lr_alone["dataroot_lq"] = lr_alone.pop("dataroot_gt")
    model.validation(loader(opt, "val_1"), 1, None, save_img=True)
    enlarged = Image.open(tmp_path / "visualization" / "photographs" / "x3.7" / "chelsea_1.png")
    assert enlarged.size == (round(97 * 3.7), round(111 * 3.7))


def test_pictures_of_any_name_are_saved_where_they_lie_below_their_root(tmp_path):
    folder = tmp_path / "hr"
    for name in ("a/same", "b/same", os.fsdecode(b"b/caf\xe9")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(24, 24)).save(folder / "picture.png")
        (folder / "picture.png").rename(folder / f"{name}.png")
    opt = options(folder, tmp_path)
    for dataset in opt["datasets"].values():
        dataset["recursive"] = True
    model, _ = train(opt, 1)
    model.validation(loader(opt, "val_0"), 3, None, save_img=True)
    saved = tmp_path / "visualization" / "photographs" / "x2"
    found = {path.relative_to(saved) for path in saved.rglob("*_3.png")}
    assert found == {
        Path(os.fsdecode(name)) for name in (b"a/same_3.png", b"b/same_3.png", b"b/caf\xe9_3.png")
    }


def test_saved_pictures_are_what_was_measured(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    model, _ = train(opt, 1)
    batches = loader(opt, "val_1")
    model.validation(batches, 7, None, save_img=True)
    folder = tmp_path / "visualization" / "photographs" / "x3.7"
    names = ["astronaut_7.png", "astronaut_7_experts.png", "chelsea_7.png", "chelsea_7_experts.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    sample = next(iter(batches))
    encoding = render.encode(model.net_g_ema, sample["lq"])
    expected = render.render(model.net_g_ema, encoding, tuple(sample["gt"].shape[2:]))
    written = np.asarray(Image.open(folder / "astronaut_7.png"))
    assert written.shape == tuple(sample["gt"].shape[i] for i in (2, 3, 1))
    np.testing.assert_array_equal(written, expected[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy())
    colours = np.asarray(Image.open(folder / "astronaut_7_experts.png"))
    chosen = render.expert_map(encoding)[0]
    np.testing.assert_array_equal(colours, render.colour_experts(chosen, 4).numpy())


def test_a_checkpoint_alone_rebuilds_the_network(photographs, tmp_path):
    model, _ = train(options(photographs, tmp_path), 1)
    model.save(epoch=0, current_iter=1)
    net = network_from(tmp_path / "net_g_1.pth")
    lr = torch.rand(1, 3, 9, 7)
    expected = render.render(model.net_g_ema, render.encode(model.net_g_ema, lr), (20, 31))
    torch.testing.assert_close(render.render(net, render.encode(net, lr), (20, 31)), expected)
    save_checkpoint(tmp_path / "net.safetensors", read_checkpoint(tmp_path / "net_g_1.pth"))
    for name in ("net_g_1.pth", "net.safetensors"):
        opt = options(photographs, tmp_path)
        opt["path"].update(pretrain_network_g=str(tmp_path / name), strict_load_g=True)
        again = build_model(opt)
        for a, b in zip(again.net_g.parameters(), model.net_g.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_what_it_cannot_train_is_refused_in_a_line(photographs, tmp_path):
    with pytest.raises(ValueError, match=r"perceptual_opt: .* remove it"):
        build_model(options(photographs, tmp_path, perceptual_opt={"type": "PerceptualLoss"}))


@pytest.mark.parametrize(
    ("scale", "label"), [(None, "Set5"), (2, "Set5/x2"), (3.7, "Set5/x3.7"), ([2, 3.5], "Set5/x2x3.5")]
)
def test_results_are_filed_by_data_set_and_scale(scale, label):
    assert dataset_label({"name": "Set5", "scale": scale}) == label
