"""mmengine.Runner trains, validates and resumes from the shipped Config."""

import io
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.registry import DATASETS, LOOPS, METRICS, MODELS
from mmengine.runner import Runner
from torch.utils.data import DataLoader
from torch.utils.data import default_collate as collate

import moeisr_plugin.openmmlab as plugin
from moeisr_plugin.archs import reference
from moeisr_plugin.archs.registry import NETWORKS
from moeisr_plugin.checkpoints.network import network_from, read_checkpoint
from moeisr_plugin.data import ArbitraryScaleDataset, ScaleValidationDataset
from moeisr_plugin.losses import BalanceLoss, CostLoss
from moeisr_plugin.metrics import calculate_psnr_protocol
from moeisr_plugin.openmmlab.safe_loading import statistic
from moeisr_plugin.options.parse import read_options

CONFIG = Path("options/openmmlab/train_tiny_MoEISR_LIIF_s.py")
ROOT = Path(__file__).parents[2]
NETWORK = {
    "type": "MoEISRLIIF",
    "encoder": {"type": "EDSREncoder", "num_feat": 8, "num_block": 1},
    "hidden_dim": 8,
    "expert_depths": [2, 3],
}
RANDOM, ALONE, ITERATIONS = 1, 4, 5


@pytest.fixture(scope="module")
def config(photographs):
    """Return a function that gives the shipped Config with a tiny network and few iterations."""

    def made(folder, **more):
        config = Config.fromfile(ROOT / CONFIG)
        config.merge_from_dict(
            {
                "model.network.encoder": {"num_feat": 8, "num_block": 1},
                "model.network.hidden_dim": 8,
                "model.random_gates_iter": RANDOM,
                "model.mapper_alone_after": ALONE,
                "train_dataloader.batch_size": 2,
                "train_dataloader.dataset.opt": {
                    "dataroot_gt": str(photographs),
                    "lr_size": 9,
                    "sample_q": 50,
                },
                "val_dataloader.dataset.common": {"name": "two", "dataroot_gt": str(photographs)},
                "val_dataloader.dataset.sets": [{"scale": 2.6}, {"scale": [4, 3.5]}],
                "train_cfg": {"max_iters": ITERATIONS, "val_interval": 3},
                "param_scheduler.0.end": 2,
                "param_scheduler.1": {"begin": 2, "periods": [2, 2]},
                "default_hooks.checkpoint": {"interval": 1, "max_keep_ckpts": -1},
                "default_hooks.logger.interval": 1,
                "work_dir": str(folder),
                "log_level": "WARNING",
                **more,
            }
        )
        return config

    return made


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """Return the folder of an uninterrupted training, and its Runner."""
    folder = tmp_path_factory.mktemp("trained")
    runner = Runner.from_cfg(config(folder))
    runner.train()
    return folder, runner


def checkpoint(folder, iteration):
    return torch.load(folder / f"iter_{iteration}.pth")


def test_validation_reports_every_set_and_scale(trained):
    _, runner = trained
    scalars = runner.message_hub.log_scalars
    for label in ("two/x2.6", "two/x4x3.5"):
        assert len(scalars[f"val/{label}/psnr"].data[0]) == 2  # after iterations 3 and 5
        assert 0 < scalars[f"val/{label}/ssim"].current() < 1
        shares = [scalars[f"val/{label}/share_{expert}"].current() for expert in range(4)]
        assert sum(shares) == pytest.approx(1)


def test_training_moves_the_parts_of_each_phase(trained):
    folder, _ = trained
    saved = [read_checkpoint(folder / f"net_g_{i}.pth")["params"] for i in range(1, ITERATIONS + 1)]
    mapper, others = "mapper.0.weight", ("encoder.head.0.weight", "experts.1.layers.0.weight")
    moved = [
        {name for name in (mapper, *others) if not torch.equal(before[name], after[name])}
        for before, after in pairwise(saved)
    ]
    assert all(each == {mapper, *others} for each in moved[: ALONE - RANDOM])
    assert moved[ALONE - 1] == {mapper}
    scalars = trained[1].message_hub.log_scalars
    assert len(scalars["train/loss_pix"].data[0]) == ITERATIONS
    assert len(scalars["train/loss_balance"].data[0]) == ITERATIONS - RANDOM
    assert len(scalars["train/loss_cost"].data[0]) == ITERATIONS - RANDOM


@pytest.mark.parametrize(
    ("iteration", "more"),
    [
        (3, {}),  # between the phases, and before a validation
        (1, {"randomness.seed": None, "val_dataloader": None, "val_cfg": None, "val_evaluator": None}),
    ],
)
def test_a_resumed_training_equals_an_uninterrupted_one(trained, config, tmp_path, iteration, more):
    folder, _ = trained
    start = {"load_from": str(folder / f"iter_{iteration}.pth"), "resume": True}
    Runner.from_cfg(config(tmp_path, **start, **more)).train()
    ours, theirs = checkpoint(tmp_path, ITERATIONS), checkpoint(folder, ITERATIONS)
    for part in ("state_dict", "ema_state_dict", "optimizer"):
        torch.testing.assert_close(ours[part], theirs[part], rtol=0, atol=0)
    assert ours["param_schedulers"] == theirs["param_schedulers"]
    assert ours["message_hub"]["log_scalars"].keys() <= theirs["message_hub"]["log_scalars"].keys()


def test_network_files_hold_averaged_weights_for_other_commands(trained):
    folder, runner = trained
    content = read_checkpoint(folder / f"net_g_{ITERATIONS}.pth")
    prefix = "network."
    raw = {
        name[len(prefix) :]: value
        for name, value in runner.model.state_dict().items()
        if name.startswith(prefix)
    }
    torch.testing.assert_close(content["params"], raw, rtol=0, atol=0)
    saved = checkpoint(folder, ITERATIONS)["state_dict"]
    net = network_from(folder / f"net_g_{ITERATIONS}.pth")
    averaged = {f"{prefix}{name}": value for name, value in net.state_dict().items()}
    torch.testing.assert_close(averaged, saved, rtol=0, atol=0)
    assert not torch.equal(content["params"]["mapper.0.weight"], averaged["network.mapper.0.weight"])
    assert content["iter"] == ITERATIONS


def test_the_config_is_the_recipe_of_the_option_file():
    config = Config.fromfile(ROOT / CONFIG)
    options = read_options(str(ROOT / "options/train/tiny/train_tiny_MoEISR_LIIF_s.yml"))
    train, data = options["train"], options["datasets"]["train"]
    assert config.model.network == options["network_g"]
    for ours, theirs in (("pixel", "pixel"), ("balance", "balance"), ("cost", "cost")):
        assert config.model[f"{ours}_loss"] == train[f"{theirs}_opt"]
    assert config.model.random_gates_iter == train["random_gates_iter"]
    assert config.model.mapper_alone_after == train["total_iter"] - train["mapper_alone_iter"]
    assert config.train_cfg.max_iters == train["total_iter"]
    assert config.optim_wrapper.optimizer == {"type": train["optim_g"]["type"], "lr": train["optim_g"]["lr"]}
    assert config.train_dataloader.batch_size == data["batch_size_per_gpu"]
    for key in ("recursive", "lr_size", "sample_q"):
        assert config.train_dataloader.dataset.opt[key] == data[key]
    assert 1 - config.custom_hooks[0].momentum == train["ema_decay"]


# --- the model ---


def batch_of(photographs):
    pictures = ArbitraryScaleDataset({"dataroot_gt": str(photographs), "lr_size": 7, "sample_q": 30})
    return collate([pictures.sample(index, seed=index) for index in range(2)])


def test_losses_are_those_of_their_definitions(photographs):
    torch.manual_seed(0)
    model = plugin.ImplicitRestorer(
        NETWORK,
        pixel_loss={"type": "L1Loss", "loss_weight": 3000.0},
        balance_loss={"type": "BalanceLoss", "loss_weight": 2.0, "reduction": "mean"},
        cost_loss={"type": "CostLoss", "loss_weight": 0.5},
    )
    batch = batch_of(photographs)
    torch.manual_seed(1)
    losses = model(**batch, mode="loss")
    torch.manual_seed(1)
    rgb, scores = model.network(batch["lq"], batch["coord"], batch["cell"])
    assert losses["loss_pix"].item() == pytest.approx(3000 * (rgb - batch["gt"]).abs().mean().item())
    shares = scores.softmax(1).mean(dim=(0, 2, 3))
    assert losses["loss_balance"].item() == pytest.approx(2 * (shares - 1 / 2).abs().sum().item(), rel=1e-4)
    assert losses["loss_cost"].item() == pytest.approx(0.5 * shares[1].item(), rel=1e-4)
    assert isinstance(model.score_losses["balance"], BalanceLoss)
    assert isinstance(model.score_losses["cost"], CostLoss)


def test_tensor_mode_gives_colours_at_coordinates(photographs):
    model: Any = plugin.ImplicitRestorer(NETWORK).eval()
    batch = batch_of(photographs)
    wanted = reference.hard_choice(
        model.network, model.network.encode(batch["lq"]), batch["coord"], batch["cell"]
    )
    torch.testing.assert_close(model(**batch), wanted)


@pytest.mark.parametrize("with_hr", [True, False])
def test_predictions_and_metrics_equal_those_of_the_reference(photographs, with_hr):
    torch.manual_seed(0)
    model: Any = plugin.ImplicitRestorer(NETWORK).eval()
    pictures = ScaleValidationDataset({"dataroot_gt": str(photographs), "scale": [2, 2.7]})
    (data,) = DataLoader(torch.utils.data.Subset(pictures, [1]))
    given = data if with_hr else {key: data[key] for key in data if not key.startswith("gt")}
    (prediction,) = model.val_step(given)
    size = data["gt"].shape[-2:]
    rgb = reference.render(model.network, model.network.encode(data["lq"]), tuple(size))[0]
    torch.testing.assert_close(prediction["rgb"], rgb, rtol=0, atol=1e-5)

    if not with_hr:
        with pytest.raises(ValueError, match="ProtocolPSNR needs HR"):
            plugin.ProtocolPSNR().process(given, [prediction])
        return
    metric = METRICS.build({"type": "ProtocolPSNR", "protocol": "div2k", "quantise": True})
    metric.process(data, [prediction])
    images = [
        np.rint(picture.double().clamp(0, 1).mul(255).flip(0).permute(1, 2, 0).numpy())
        for picture in (rgb, data["gt"][0])
    ]
    wanted = calculate_psnr_protocol(*images, protocol="div2k", scale=[2, 2.7])
    assert metric.evaluate(1) == {"x2x2.7/psnr": pytest.approx(wanted, abs=1e-3)}


def test_pictures_too_small_for_a_metric_are_left_out():
    small = {"gt": torch.rand(1, 3, 9, 9), "gt_path": ["a.png"], "scale": torch.tensor([[2.0, 2.0]])}
    metric = plugin.ProtocolPSNR("div2k")
    metric.process(small, [{"rgb": torch.rand(3, 9, 9)}])
    assert metric.evaluate(1) == {}


def test_a_bundled_network_is_started_from_and_stated():
    model = plugin.ImplicitRestorer("tiny_MoEISR_LIIF_s")
    weights = network_from("tiny_MoEISR_LIIF_s").state_dict()
    torch.testing.assert_close(model.network.state_dict(), weights, rtol=0, atol=0)
    (source,) = model.provenance["started_from"]
    assert source["name"] == "tiny_MoEISR_LIIF_s"
    assert source["training_data"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": {"type": "Nothing"}}, "there is no network Nothing"),
        ({"network": "nowhere.pth"}, "nowhere.pth: no such file"),
        ({"network": NETWORK["encoder"]}, "network: is a EDSREncoder; give LIIF"),
        (
            {"network": {**NETWORK, "type": "LIIF", "expert_depths": None}, "random_gates_iter": 3},
            "LIIF has one expert; remove balance_loss",
        ),
    ],
)
def test_wrong_networks_are_refused_in_one_line(arguments, message):
    network = arguments["network"]
    if isinstance(network, dict) and network.get("expert_depths", 1) is None:
        network = {key: value for key, value in network.items() if key != "expert_depths"}
    with pytest.raises(ValueError, match=message) as error:
        plugin.ImplicitRestorer(**{**arguments, "network": network})
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "other"}, "mode is 'other'; give tensor, loss or predict"),
        ({"mode": "loss"}, "mode loss needs gt, coord and cell"),
        ({"mode": "tensor"}, "mode tensor needs coord and cell"),
        ({"mode": "predict"}, "mode predict needs gt or one scale"),
    ],
)
def test_missing_inputs_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        plugin.ImplicitRestorer(NETWORK)(torch.rand(1, 3, 5, 6), **arguments)


# --- registries, data and files ---


def test_everything_is_in_the_registries():
    for name, network in NETWORKS.items():
        if network.__module__.startswith("moeisr_plugin."):
            assert MODELS.get(name) is network
    names = {
        DATASETS: ("ArbitraryScaleDataset", "ScaleValidationDataset", "ScaleValidationSets"),
        METRICS: ("ProtocolPSNR", "ProtocolSSIM", "ExpertShares"),
        MODELS: ("ImplicitRestorer", "BalanceLoss", "CostLoss", "L1Loss", "MSELoss", "CharbonnierLoss"),
    }
    for registry, wanted in names.items():
        assert all(getattr(registry.get(name), "__name__", None) == name for name in wanted)


def test_validation_sets_merge_nested_options(photographs):
    common = {"name": "a", "dataroot_gt": str(photographs), "io_backend": {"type": "disk"}, "first_k": 1}
    sets: Any = plugin.ScaleValidationSets(
        [{"scale": 2}, {"scale": 3.5, "name": "b", "io_backend": {"kept": 1}}], common
    )
    assert [(sample["set"], sample["scale"].tolist()) for sample in sets] == [
        ("a", [2, 2]),
        ("b", [3.5, 3.5]),
    ]
    assert sets.datasets[1].pictures.opt["io_backend"] == {"type": "disk", "kept": 1}
    assert common["io_backend"] == {"type": "disk"}


def test_processes_share_the_order_of_samples(monkeypatch, photographs):
    pictures = ArbitraryScaleDataset({"dataroot_gt": str(photographs), "lr_size": 7, "sample_q": 30})

    def drawn(rank, processes, consumed=0):
        monkeypatch.setattr("moeisr_plugin.openmmlab.exact_resuming.get_dist_info", lambda: (rank, processes))
        sampler = plugin.ExactSampler(pictures, seed=7)
        sampler.consumed = consumed
        return [request for request, _ in zip(sampler, range(6), strict=False)]

    whole = drawn(0, 1)
    assert [request for pair in zip(drawn(0, 2), drawn(1, 2), strict=True) for request in pair][:6] == whole
    assert drawn(0, 1, consumed=3)[:3] == whole[3:]
    assert len({request.seed for request in whole}) == 6
    for epoch in range(3):
        assert {request.index for request in whole if request.epoch == epoch} == {0, 1}


def test_another_sampler_is_refused(config, tmp_path):
    sampler = {"train_dataloader.sampler": {"type": "InfiniteSampler"}}
    with pytest.raises(ValueError, match=r"sampler is a InfiniteSampler; ExactTrainLoop needs ExactSampler"):
        Runner.from_cfg(config(tmp_path, **sampler)).train()
    assert LOOPS.get("ExactTrainLoop") is plugin.ExactTrainLoop


class Malicious:
    """Refers to an attribute of a harmless class, from which a file could reach any function."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, "__init__")


def test_only_statistics_of_a_log_can_be_referred_to():
    with io.BytesIO() as file:
        torch.save(Malicious(), file)
        file.seek(0)
        with pytest.raises(pickle.UnpicklingError, match="not a statistic of a log"):
            torch.load(file, weights_only=True)
    assert statistic(HistoryBuffer, "mean") is HistoryBuffer.mean
    with pytest.raises(pickle.UnpicklingError):
        statistic(str, "mean")
