"""Every option file parses, builds its network, and runs a step of training and of validation."""

import copy
from pathlib import Path

import pytest
import torch
from basicsr.archs import build_network
from basicsr.data import build_dataloader, build_dataset
from basicsr.models import build_model

from moeisr_plugin.options import Run, check
from moeisr_plugin.options.parse import read_options
from moeisr_plugin.options.starting import with_network_from

pytestmark = pytest.mark.slow

OPTIONS = Path(__file__).parents[2] / "options"
ABLATION = sorted(OPTIONS.glob("train/ablation/*.yml"))
TINY = sorted(OPTIONS.glob("train/tiny/*.yml"))
SHORT = sorted(OPTIONS.glob("train/short/*.yml"))
UPCYCLED = sorted(OPTIONS.glob("train/upcycled/*.yml"))
FINETUNE = sorted(OPTIONS.glob("train/finetune/*.yml"))
TRAIN = sorted(set(OPTIONS.glob("train/*/*.yml")) - {*ABLATION, *TINY, *SHORT, *UPCYCLED, *FINETUNE})
TEST = sorted(OPTIONS.glob("test/*/*.yml"))

# Sizes that make a step fast; the structure stays.
SMALL_ENCODER = {
    "EDSREncoder": {"num_feat": 8, "num_block": 1},
    "RDNEncoder": {"num_feat": 8, "num_block": 2, "num_layer": 2, "num_grow_ch": 8},
    "SwinIREncoder": {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 4},
}


def shrink(opt, photographs, root):
    """Return options for two small photographs and a small network, with the keys that the parser adds."""
    opt = copy.deepcopy(opt)
    opt.update(num_gpu=0, dist=False, rank=0, world_size=1, is_train="train" in opt)
    folders = ("models", "training_states", "visualization")
    opt["path"].update({name: str(root / name) for name in folders}, pretrain_network_g=None)
    train = opt.get("train", {})
    train.pop("encoder_from", None)
    if train.get("distillation_opt"):
        train["distillation_opt"]["teacher"] = "deepest"
    for name in ("models", "training_states"):
        (root / name).mkdir(parents=True)
    for phase, dataset in opt["datasets"].items():
        dataset.update(phase=phase.split("_")[0], dataroot_gt=str(photographs))
        dataset.pop("dataroot_lq", None)
        if phase == "train":
            dataset.update(lr_size=12, sample_q=64, num_worker_per_gpu=0, batch_size_per_gpu=2)
            dataset.update(persistent_workers=False)
    encoder = opt["network_g"]["encoder"]
    encoder.update(SMALL_ENCODER[encoder["type"]])
    opt["network_g"]["hidden_dim"] = 8
    return opt


def loader(opt, phase):
    dataset = build_dataset(opt["datasets"][phase])
    return build_dataloader(dataset, opt["datasets"][phase], num_gpu=0, dist=False, sampler=None, seed=0)


def test_there_is_a_file_per_experiment_of_the_paper():
    decoders = ("LIIF", "LTE", "MoEISR_LIIF_b", "MoEISR_LIIF_s", "MoEISR_LTE_b", "MoEISR_LTE_s")
    names = {f"{encoder}_{decoder}" for encoder in ("EDSR", "RDN", "SwinIR") for decoder in decoders}
    names |= {"EDSR_CiaoSR", "EDSR_MoEISR_CiaoSR"}  # which the paper only compares with
    assert {path.stem.removeprefix("train_") for path in TRAIN} == names
    assert {path.stem.removeprefix("test_") for path in TEST} == names


@pytest.mark.parametrize("path", TRAIN + ABLATION, ids=lambda path: path.stem)
def test_training_options_run_a_step(path, photographs, tmp_path):
    opt = shrink(read_options(path), photographs, tmp_path)
    opt["logger"]["print_freq"] = 1
    opt["train"].pop("random_gates_iter", None)  # in these iterations there are no losses of the scores
    torch.manual_seed(0)
    model = build_model(opt)
    before = [parameter.detach().clone() for parameter in model.net_g.parameters()]
    model.feed_data(next(iter(loader(opt, "train"))))
    model.update_learning_rate(1)
    model.optimize_parameters(1)
    log = model.get_current_log()
    assert log["l_pix"] > 0
    assert ("l_balance" in log) == ("MoEISR" in path.stem)
    assert all((a != b).any() for a, b in zip(before, model.net_g.parameters(), strict=True) if b.grad.any())
    phase = next(name for name in opt["datasets"] if name.startswith("val"))
    model.validation(loader(opt, phase), 1, None, save_img=False)
    assert 0 < model.metric_results["psnr"] < 60
    model.save(epoch=0, current_iter=1)
    assert (tmp_path / "models" / "net_g_1.pth").is_file()


@pytest.mark.parametrize(
    ("family", "paths", "num_feat", "num_block", "periods"),
    [
        ("tiny", TINY, 32, 8, [25000, 3000]),
        ("short", SHORT, 64, 16, [8000, 1000]),
    ],
)
def test_a_family_differs_in_its_decoders_alone(family, paths, num_feat, num_block, periods):
    names = ("LIIF", "LTE", "MoEISR_LIIF_b", "MoEISR_LIIF_s", "MoEISR_LTE_b", "MoEISR_LTE_s")
    options = {path.stem.removeprefix(f"train_{family}_"): read_options(path) for path in paths}
    assert set(options) == set(names)
    for name, opt in options.items():
        assert opt.pop("name") == f"{family}_{name}"
        encoder = opt.pop("network_g")["encoder"]
        assert encoder == {"type": "EDSREncoder", "num_feat": num_feat, "num_block": num_block}
        training, scheduler = opt["train"], opt["train"]["scheduler"]
        for key in ("random_gates_iter", "mapper_alone_iter", "balance_opt", "cost_opt"):
            assert (training.pop(key, None) is not None) == ("MoEISR" in name)
        # The second period trains the mapper alone.
        assert scheduler["periods"] == (periods if "MoEISR" in name else periods[:1])
        assert training.pop("total_iter") == sum(scheduler.pop("periods"))
        assert set(scheduler.pop("restart_weights")) == {1}
    assert all(opt == options["LIIF"] for opt in options.values())


@pytest.mark.parametrize("path", SHORT, ids=lambda path: path.stem)
def test_networks_of_the_short_family_are_those_of_the_paper(path):
    published = read_options(OPTIONS / "train" / "EDSR" / path.name.replace("short", "EDSR"))["network_g"]
    network = read_options(path)["network_g"]
    assert network == {key: published[key] for key in network}
    assert sum(p.numel() for p in build_network(network).parameters()) == sum(
        p.numel() for p in build_network(published).parameters()
    )


@pytest.mark.parametrize("path", TINY + SHORT + UPCYCLED, ids=lambda path: path.stem)
def test_a_family_trains(path, photographs, tmp_path):
    opt = shrink(read_options(path), photographs, tmp_path)
    model = build_model(opt)
    model.feed_data(next(iter(loader(opt, "train"))))
    model.update_learning_rate(1)
    model.optimize_parameters(1)
    assert model.get_current_log()["l_pix"] > 0


@pytest.mark.parametrize("path", UPCYCLED, ids=lambda path: path.stem)
def test_the_losses_of_upcycled_trainings_repeat_bit_for_bit(path, photographs, tmp_path):
    """All phases are run: random routing, then the mapper alone. A network with one expert has none."""
    runs = []
    for name in ("first", "second"):
        opt = shrink(read_options(path), photographs, tmp_path / name)
        if "random_gates_iter" in opt["train"]:
            at_random = 4 if opt["train"]["random_gates_iter"] else 0
            opt["train"].update(random_gates_iter=at_random, mapper_alone_iter=6 - at_random)
        opt["train"]["total_iter"] = 6
        opt["train"]["scheduler"].update(periods=[4, 2], restart_weights=[1, 1])
        torch.manual_seed(0)
        model, batches = build_model(opt), loader(opt, "train")
        losses = []
        for iteration in range(1, 7):
            model.feed_data(next(iter(batches)))
            model.update_learning_rate(iteration)
            model.optimize_parameters(iteration)
            log = model.get_current_log()
            losses.append({key: log[key] for key in log if key.startswith("l_")})
        runs.append((losses, model.net_g.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert len({losses["l_pix"] for losses in runs[0][0]}) == 6
    assert all(torch.equal(value, runs[1][1][name]) for name, value in runs[0][1].items())


@pytest.mark.parametrize("path", TRAIN, ids=lambda path: path.stem)
def test_the_schedule_is_the_published_one(path):
    opt = read_options(path)
    swinir = path.parent.name == "SwinIR"
    epoch = 800 * 20 // (32 if swinir else 16)
    milestones = [500, 800, 900, 950] if swinir else [200, 400, 600, 800]
    assert opt["datasets"]["train"]["batch_size_per_gpu"] == (32 if swinir else 16)
    assert opt["train"]["optim_g"]["lr"] == pytest.approx(2e-4 if swinir else 1e-4)
    assert opt["train"]["total_iter"] == 1000 * epoch
    assert opt["train"]["scheduler"]["milestones"] == [epoch * milestone for milestone in milestones]


def test_ablations_change_one_thing():
    changes = {}
    for path in ABLATION:
        base = "RDN_MoEISR_LIIF_b" if "MoEISR" in path.stem else "RDN_LIIF"
        opt, plain = read_options(path), read_options(OPTIONS / "train" / "RDN" / f"train_{base}.yml")
        name = path.stem.removeprefix(f"train_{base}_")
        assert opt.pop("name") == path.stem != plain.pop("name")
        changes[name] = differences(opt, plain)
    tau, weights = "network_g.tau", "train.balance_opt.expert_weights"
    assert changes == {
        "tau3": {tau: 3.0},
        "tau5": {tau: 5.0},
        "m1": {"network_g.mapper_depth": 1},
        "w1": {weights: [3.7, 1.0, 1.0, 1.0]},
        "w4": {weights: [1.0, 1.0, 1.0, 3.7]},
        **{f"{depth}layer": {"network_g.depth": depth} for depth in (2, 3, 4)},
    }


def differences(opt, plain, path=""):
    """Return the values of `opt` that differ from those of `plain`, by the path of their keys."""
    assert opt.keys() == plain.keys()
    found = {}
    for key, value in opt.items():
        if isinstance(value, dict):
            found |= differences(value, plain[key], f"{path}{key}.")
        elif value != plain[key]:
            found[path + key] = value
    return found


@pytest.mark.parametrize("path", TEST, ids=lambda path: path.stem)
def test_test_options_validate(path, photographs, tmp_path):
    opt = shrink(read_options(path), photographs, tmp_path)
    training = read_options(OPTIONS / "train" / path.parent.name / path.name.replace("test_", "train_"))
    assert read_options(path)["network_g"] == training["network_g"]
    model = build_model(opt)
    phase = next(iter(opt["datasets"]))
    model.validation(loader(opt, phase), opt["name"], None, save_img=True)
    assert 0 < model.metric_results["ssim"] < 1
    pictures = list((tmp_path / "visualization").rglob("*.png"))
    assert len(pictures) == 2 * (1 + ("MoEISR" in path.stem))


@pytest.mark.parametrize("path", FINETUNE, ids=lambda path: path.stem)
def test_fine_tuning_starts_from_a_bundled_network(path):
    opt = with_network_from(read_options(path))
    assert opt["path"]["pretrain_network_g"] == "tiny_MoEISR_LIIF_s"
    _, problems = check(opt, Run(), check_files=False)
    assert problems == []
