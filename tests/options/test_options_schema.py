"""Each problem of the options is one line before anything is written; valid options pass."""

import copy
import importlib.util
import random
import sys
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

import moeisr_plugin.test
import moeisr_plugin.train
from moeisr_plugin.archs.implicit_sr import OWN_NETWORKS
from moeisr_plugin.options import OptionsError, Run, check, implicit_contradictions
from moeisr_plugin.options.parse import force_options, read_options
from moeisr_plugin.options.starting import with_network_from
from moeisr_plugin.utils.messages import one_line

ROOT = Path(__file__).parents[2]
OPTIONS = sorted(ROOT.glob("options/t*/**/*.yml"))
GONE = object()


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch, photographs):
    """A current directory with pictures, and an older run that must stay."""
    (tmp_path / "pictures").symlink_to(photographs)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.pth").touch()
    (tmp_path / "weights.pth").write_bytes(b"weights")
    (tmp_path / "experiments/try/models").mkdir(parents=True)
    (tmp_path / "lmdb").mkdir()
    (tmp_path / "lmdb/data.mdb").touch()
    (tmp_path / "list.txt").write_text("astronaut.png\nnone.png\n")
    (tmp_path / "one.txt").write_text("astronaut.png\n")
    (tmp_path / "astronaut_alone").mkdir()
    Image.open(photographs / "astronaut.png").save(tmp_path / "astronaut_alone/astronaut.png")
    for variable in ("RANK", "WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_pairs(root, hr, lr):
    """Write a folder of HR and one of LR pictures, whose sizes are given by name."""
    for folder, sizes in (("hr", hr), ("lr", lr)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, (height, width) in sizes.items():
            Image.new("RGB", (width, height)).save(root / folder / name)


@pytest.fixture
def training_options(training_options):
    training_options["datasets"]["train"]["dataroot_gt"] = "pictures"
    training_options["datasets"]["val_1"]["dataroot_gt"] = "pictures"
    return training_options


@pytest.fixture
def testing_options(training_options):
    """Valid options of a test."""
    return {
        **{key: training_options[key] for key in ("name", "model_type", "num_gpu", "network_g", "val")},
        "datasets": {"test_1": training_options["datasets"]["val_1"]},
        "path": {"pretrain_network_g": "weights.pth"},
    }


def edited(opt, changes):
    """Return a copy of options with values set, or removed, at the paths of their keys."""
    opt = copy.deepcopy(opt)
    for path, value in changes.items():
        *sections, key = path.split(".")
        section = opt
        for name in sections:
            section = section[name]
        if value is GONE:
            del section[key]
        else:
            section[key] = value
    return opt


def written(opt):
    """Write the options to `options.yml`."""
    Path("options.yml").write_text(opt if isinstance(opt, str) else yaml.safe_dump(opt, sort_keys=False))


@pytest.fixture
def run(monkeypatch, capsys, workplace):
    """A function that runs an entry point and returns its exit status and its lines on stderr and stdout.

    It fails if the entry point has written a file.
    """

    def start(*arguments, module=moeisr_plugin.train):
        monkeypatch.setattr(sys, "argv", ["train.py", "-opt", "options.yml", *arguments])
        before = sorted(workplace.rglob("*"))
        with pytest.raises(SystemExit) as ended:
            module.main()
        assert sorted(workplace.rglob("*")) == before
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return ended.value.code, output.err.splitlines(), output.out.splitlines()

    return start


# One key is wrong

UNKNOWN = {
    "modle_type": ("ImplicitSRModel", "did you mean model_type?"),
    "datasets.tran": ({}, "did you mean train?"),
    "datasets.train.lr_sise": (48, "did you mean lr_size?"),
    "datasets.train.scales": (2, "did you mean scale?"),
    "datasets.train.io_backend": ({"type": "disk", "tpye": 1}, "did you mean type?"),
    "datasets.val_1.protocoll": ("div2k", "did you mean protocol?"),
    "network_g.expert_depth": ([2, 3], "did you mean expert_depths?"),
    "network_g.encoder.num_feats": (8, "did you mean num_feat?"),
    "path.strict_laod_g": (True, "did you mean strict_load_g?"),
    "train.optim_g.weigth_decay": (0, "did you mean weight_decay?"),
    "train.scheduler.gama": (0.5, "did you mean gamma?"),
    "train.total_itre": (5, "did you mean total_iter?"),
    "train.pixel_opt.loss_wieght": (1, "did you mean loss_weight?"),
    "train.balance_opt.expert_weight": ([1, 1], "did you mean expert_weights?"),
    "val.metrics.psnr.quantize": (True, "did you mean quantise?"),
    "logger.print_frequency": (1, "did you mean print_freq?"),
    "logger.wandb": ({"projekt": "x"}, "did you mean project?"),
    "val.zzz": (1, "known here: metrics, pbar, routing_health, save_img, suffix, val_freq"),
}
NESTED = {
    "datasets.train.io_backend": "datasets.train.io_backend.tpye",
    "logger.wandb": "logger.wandb.projekt",
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_key_names_the_nearest_key(path, training_options, run):
    value, remedy = UNKNOWN[path]
    written(edited(training_options, {path: value}))
    line = f"options.yml: {NESTED.get(path, path)}: unknown; {remedy}"
    assert run() == (2, [line], [])


NAMES = {
    "model_type": ("ImplicitModel", "there is no model ImplicitModel; did you mean ImplicitSRModel?"),
    "datasets.train.type": (
        "ArbitraryScaleDatset",
        "there is no data set ArbitraryScaleDatset; did you mean ArbitraryScaleDataset?",
    ),
    "network_g.type": ("MoEISRLIF", "there is no network MoEISRLIF; did you mean MoEISRLIIF?"),
    "network_g.encoder.type": ("EDSREncodr", "there is no network EDSREncodr; did you mean EDSREncoder?"),
    "train.optim_g.type": ("AdamV", "there is no optimiser AdamV; did you mean Adam?"),
    "train.scheduler.type": ("MultistepLR", "there is no scheduler MultistepLR; did you mean MultiStepLR?"),
    "train.pixel_opt.type": ("L1Los", "there is no loss L1Los; did you mean L1Loss?"),
    "val.metrics.psnr.type": (
        "calculate_psnr_protokol",
        "there is no metric calculate_psnr_protokol; did you mean calculate_psnr_protocol?",
    ),
}


@pytest.mark.parametrize("path", NAMES)
def test_unregistered_name_names_the_nearest_name(path, training_options, run):
    value, text = NAMES[path]
    opt = edited(training_options, {path: value})
    if path == "model_type":  # an unknown model has only the keys of the toolbox
        opt["train"].pop("balance_opt")
    written(opt)
    assert run() == (2, [f"options.yml: {path}: {text}"], [])


WRONG = {
    "num_gpu": ("all", "is 'all'; give the number of GPUs, 0 for the CPU, or auto"),
    "manual_seed": (-1, "is -1; give a whole number of at least 0 and below 4.29497e+09"),
    "datasets": ([1], "is [1]; give a section with a data set each"),
    "datasets.train.dataroot_gt": (None, "is empty; give a folder of pictures or an LMDB, or a list of them"),
    "datasets.train.dataroot_lq": ([], "is []; give a folder of pictures or an LMDB, or a list of them"),
    "datasets.train.filename_tmpl": (
        "lr4",
        "is 'lr4'; give a name with {} once, such as {}_LR4, or a list with one for each folder",
    ),
    "datasets.train.lr_size": ("big", "is 'big'; give a whole number of at least 1"),
    "datasets.train.scale_range": ([4, 1], "is [4, 1]; give [smallest, largest], both at least 1"),
    "datasets.train.use_rot": ("maybe", "is 'maybe'; give true or false"),
    "datasets.train.use_shuffle": (
        True,
        "is read by nothing, pictures are always shuffled; remove the line",
    ),
    "datasets.train.batch_size_per_gpu": (0, "is 0; give a whole number of at least 1"),
    "datasets.train.num_worker_per_gpu": (True, "is True; give a whole number of at least 0"),
    "datasets.train.dataset_enlarge_ratio": (0, "is 0; give a number above 0"),
    "datasets.train.cache": ("disk", "is 'disk'; give none or memory"),
    "datasets.train.prefetch_mode": ("gpu", "is 'gpu'; give cpu or cuda"),
    "datasets.train.io_backend": ("lmdb", "is 'lmdb'; give a section of keys and values"),
    "datasets.val_1.scale": (
        0.5,
        "is 0.5; give a number of at least 1, or two, [vertical, horizontal]",
    ),
    "datasets.val_1.protocol": ("set5", "is 'set5'; give benchmark, div2k or basicsr"),
    "datasets.val_1.downsample": ("bicubic", "is 'bicubic'; give pil or matlab"),
    "network_g": ("MoEISRLIIF", "is 'MoEISRLIIF'; give a section with a type"),
    "network_g.hidden_dim": (256.5, "is 256.5; give a whole number of at least 1"),
    "network_g.tau": (0, "is 0; give a number above 0"),
    "network_g.mapper_kernel_size": (4, "is 4; give an odd whole number of at least 1"),
    "network_g.expert_depths": (
        [3, 2],
        "is [3, 2]; give whole numbers of at least 2 that grow, such as [2, 3, 4, 5]",
    ),
    "network_g.encoder": (
        {"type": "ToolboxEncoder", "arch": "EDSR", "params": [64]},
        "is [64]; give a section of keys and values",
    ),
    "network_g.local_ensemble": ("both", "is 'both'; give true or false"),
    "train.total_iter": (0, "is 0; give a whole number of at least 1"),
    "train.ema_decay": (1, "is 1; give a number of at least 0 and below 1"),
    "train.precision": ("fp16", "is 'fp16'; give float32, bfloat16 or float16"),
    "train.accumulate": (0, "is 0; give a whole number of at least 1"),
    "train.replay_batches": (-1, "is -1; give a whole number of at least 0"),
    "train.clip_grad_norm": (-1, "is -1; give a number above 0"),
    "train.optim_g.lr": (-1e-4, "is -0.0001; give a number above 0"),
    "train.optim_g.betas": ([0.9], "is [0.9]; give a list, 2 of a number of at least 0 and below 1 each"),
    "train.scheduler.milestones": (5, "is 5; give a list, a whole number of at least 1 each"),
    "train.pixel_opt.loss_weight": (-1, "is -1; give a number of at least 0"),
    "train.pixel_opt.reduction": ("none", "is 'none'; give mean or sum"),
    "train.balance_opt.reduction": ("none", "is 'none'; give sum or mean"),
    "val.save_img": (2, "is 2; give true or false"),
    "val.metrics.psnr.better": ("more", "is 'more'; give higher or lower"),
    "logger.print_freq": (0, "is 0; give a whole number of at least 1"),
}


PARTS = {"network_g.encoder": "network_g.encoder.params"}


@pytest.mark.parametrize("path", WRONG)
def test_wrong_value_is_shown_with_the_allowed_values(path, training_options, run):
    value, text = WRONG[path]
    written(edited(training_options, {path: value}))
    assert run() == (2, [f"options.yml: {PARTS.get(path, path)}: {text}"], [])


@pytest.mark.parametrize(
    ("degradation", "line"),
    [
        ([1], "is [1]; give a section of keys and values"),
        ({"jpg": {"quality": [30, 95]}}, ".jpg: unknown; did you mean jpeg?"),
        (
            {"noise": {"sigma": [0, 5], "probabilty": 1}},
            ".noise.probabilty: unknown; did you mean probability?",
        ),
        (
            {"jpeg": {"quality": [95, 30]}},
            ".jpeg.quality: is [95, 30]; give [smallest, largest], whole numbers from 1 to 100",
        ),
        (
            {"jpeg": {"quality": [30.5, 95]}},
            ".jpeg.quality: is [30.5, 95]; give [smallest, largest], whole numbers from 1 to 100",
        ),
        (
            {"jpeg": {}},
            ".jpeg.quality: missing; give [smallest, largest], whole numbers from 1 to 100",
        ),
        (
            {"blur": {"sigma": [0, 1]}},
            ".blur.sigma: is [0, 1]; give [smallest, largest], both from 0.1 to 10",
        ),
        (
            {"noise": {"sigma": 5}},
            ".noise.sigma: is 5; give [smallest, largest], both from 0 to 255",
        ),
        (
            {"noise": {"sigma": [0, 5], "probability": 2}},
            ".noise.probability: is 2; give a number of at least 0 and at most 1",
        ),
    ],
)
def test_degradation_is_checked(degradation, line, training_options, run):
    written(edited(training_options, {"datasets.train.degradation": degradation}))
    separator = "" if line.startswith(".") else ": "
    assert run() == (2, [f"options.yml: datasets.train.degradation{separator}{line}"], [])


@pytest.mark.parametrize(
    "degradation", [None, {}, {"jpeg": None}, {"jpeg": {"quality": [30, 95], "probability": 0.5}}]
)
def test_degradation_and_its_parts_may_be_left_out(degradation, training_options):
    opt = edited(training_options, {"datasets.train.degradation": degradation})
    assert check(opt, Run())[1] == []


MISSING = {
    "name": "give a text",
    "model_type": "give the name of a model",
    "num_gpu": "give the number of GPUs, 0 for the CPU, or auto",
    "datasets": "give a section with a data set each",
    "datasets.train": "give a section with a type",
    "datasets.train.type": "give the name of a data set",
    "datasets.train.dataroot_gt": "give a folder of pictures or an LMDB, or a list of them",
    "datasets.train.batch_size_per_gpu": "give a whole number of at least 1",
    "datasets.val_1.scale": "give a number of at least 1, or two, [vertical, horizontal]",
    "network_g.encoder": "give a section with a type",
    "network_g.type": "give the name of a network",
    "path": "give a section of keys and values",
    "train": "give a section of keys and values",
    "train.total_iter": "give a whole number of at least 1",
    "train.optim_g.lr": "give a number above 0",
    "train.scheduler.milestones": "give a list, a whole number of at least 1 each",
    "train.pixel_opt": "give a section with a type",
    "val.val_freq": "give a whole number of at least 1",
    "logger": "give a section of keys and values",
}


@pytest.mark.parametrize("path", MISSING)
def test_missing_key_is_named_with_the_allowed_values(path, training_options, run):
    opt = edited(training_options, {path: GONE})
    if path == "model_type":
        opt["train"].pop("balance_opt")
    written(opt)
    assert run() == (2, [f"options.yml: {path}: missing; {MISSING[path]}"], [])


# Files on the disk

FILES = {
    "no folder": (
        {"datasets.train.dataroot_gt": "none"},
        "datasets.train.dataroot_gt: none: no such folder; correct the dataroot",
    ),
    "empty folder": (
        {"datasets.val_1.dataroot_gt": "empty"},
        "datasets.val_1.dataroot_gt: empty: no picture found; correct the dataroot, or include "
        "subfolders (recursive: true)",
    ),
    "folder for LMDB": (
        {"datasets.train.dataroot_gt": "lmdb"},
        "datasets.train.dataroot_gt: lmdb: an LMDB, not a folder of pictures; set io_backend: {type: lmdb}",
    ),
    "pairs": (
        {"datasets.val_1.dataroot_lq": "astronaut_alone"},
        "datasets.val_1: astronaut_alone: has no picture 'chelsea', the LR of pictures/chelsea.png "
        "(1 of 2 have none); add it, or correct filename_tmpl",
    ),
    "no list": (
        {"datasets.train.meta_info_file": "none.txt"},
        "datasets.train.meta_info_file: none.txt: no such file; correct the path or remove the line",
    ),
    "list of others": (
        {"datasets.train.meta_info_file": "list.txt"},
        "datasets.train: list.txt: names none.png, which is not in pictures",
    ),
    "batch": (
        {"datasets.train.batch_size_per_gpu": 16},
        "datasets.train.batch_size_per_gpu: gives batches of 16, but an epoch has 2 samples (2 pictures, "
        "dataset_enlarge_ratio 1); lower it or set dataset_enlarge_ratio: 8",
    ),
    "batch of listed pictures": (
        {"datasets.train.meta_info_file": "one.txt", "datasets.train.dataset_enlarge_ratio": 1.5},
        None,  # one picture x 1.5, rounded up, is a batch of two
    ),
    "batch of the first pictures": (
        {"datasets.train.first_k": 1},
        "datasets.train.batch_size_per_gpu: gives batches of 2, but an epoch has 1 samples (1 pictures, "
        "dataset_enlarge_ratio 1); lower it or set dataset_enlarge_ratio: 2",
    ),
    "weights": (
        {"path.pretrain_network_g": "none.pth"},
        "path.pretrain_network_g: none.pth: no such file; correct the path",
    ),
    "empty weights": (
        {"path.pretrain_network_g": "empty.pth"},
        "path.pretrain_network_g: empty.pth: the file is empty; copy or make it again",
    ),
    "state": (
        {"path.resume_state": "none.state"},
        "path.resume_state: none.state: no such file; correct the path",
    ),
    "weights of the encoder": (
        {
            "network_g.encoder": {
                "type": "ToolboxEncoder",
                "arch": "MSRResNet",
                "pretrained": "none.pth",
            }
        },
        "network_g.encoder.pretrained: none.pth: no such file; correct the path",
    ),
}


def test_unknown_entry_of_the_weights_of_an_encoder_is_named(training_options, run):
    torch.save({"params": {"body.weight": torch.zeros(1)}}, "full.pth")
    encoder = {"type": "ToolboxEncoder", "arch": "MSRResNet", "pretrained": "full.pth", "param_key": "param"}
    training_options["network_g"]["encoder"] = encoder
    written(training_options)
    text = "network_g.encoder.param_key: full.pth: no entry 'param'; param_key can be params"
    assert run("--check") == (2, [f"options.yml: {text}"], [])


@pytest.mark.parametrize("case", FILES)
def test_missing_file_is_named(case, training_options, run):
    changes, text = FILES[case]
    written(edited(training_options, changes))
    if text is None:
        assert run("--check")[0] == 0
    else:
        assert run() == (2, [f"options.yml: {text}"], [])


SAME = {"a.png": (40, 60), "b.png": (40, 60)}
HALF = {"a.png": (20, 30), "b.png": (20, 30)}
PAIRS = {
    "fitting": (SAME, HALF, {}, None),
    "fitting per axis": (SAME, {"a.png": (20, 20), "b.png": (20, 20)}, {"scale": [2, 3]}, None),
    "fewer LR": (
        SAME,
        {"a.png": (20, 30)},
        {},
        "lr: has no picture 'b', the LR of hr/b.png (1 of 2 have none); ",
    ),
    "fewer HR": (
        {"a.png": (40, 60)},
        HALF,
        {},
        "hr: has no HR picture for lr/b.png (1 such pictures); add it",
    ),
    "another size": (
        {**SAME, "c.png": (40, 60)},
        {**HALF, "c.png": (16, 24)},
        {},
        "lr/c.png: 16x24 is 1/2.5 of the 40x60 of hr/c.png vertically, but 1/2 is usual in its folder",
    ),
    "another scale": (
        SAME,
        HALF,
        {"scale": 2.5},
        "lr/a.png: 40 HR pixels are 2 times 20 LR pixels, not 2.5 times (hr/a.png); correct the scale or the",
    ),
    "small LR": (SAME, HALF, {"lr_size": 24}, "lr/a.png: 20x30 is too small for lr_size 24; remove it or"),
    "lists of two lengths": (
        SAME,
        HALF,
        {"dataroot_lq": ["lr", "lr"], "dataroot_gt": ["hr", "hr", "hr"]},
        "dataroot_lq has 2 and dataroot_gt 3 entries; give one for each folder, in the same order",
    ),
}


@pytest.mark.parametrize("case", PAIRS)
def test_pairs_are_checked_before_a_training(case, training_options, run, workplace):
    hr, lr, options, text = PAIRS[case]
    write_pairs(workplace, hr, lr)
    training_options["datasets"]["train"].update({"dataroot_gt": "hr", "dataroot_lq": "lr", **options})
    written(training_options)
    status, lines, _ = run("--check")
    if text is None:
        assert (status, lines) == (0, [])
    else:
        assert status == 2
        assert len(lines) == 1
        assert lines[0].startswith(f"options.yml: datasets.train: {text}")


def test_pairs_with_too_few_pixels_for_the_queries_are_named(training_options, run, workplace):
    write_pairs(workplace, SAME, dict.fromkeys(SAME, (16, 24)))
    training_options["datasets"]["train"].update(dataroot_gt="hr", dataroot_lq="lr", sample_q=401)
    written(training_options)
    text = "is 401, but the smallest HR patches have 400 pixels; lower it or raise lr_size"
    assert run("--check") == (2, [f"options.yml: datasets.train.sample_q: {text}"], [])


@pytest.mark.parametrize(
    ("sampling", "text"),
    [
        ({"hr_size": 16}, "needs whole patches; set sample_q: all, or remove it"),
        (
            {"hr_size": 21, "sample_q": "all"},
            "is 21, but the smallest HR patches have 20 rows or columns; lower it or raise lr_size",
        ),
        ({"hr_size": 20, "sample_q": "all"}, None),
    ],
)
def test_windows_of_whole_patches_of_pairs_are_checked(sampling, text, training_options, run, workplace):
    write_pairs(workplace, SAME, dict.fromkeys(SAME, (16, 24)))
    training_options["datasets"]["train"].update(dataroot_gt="hr", dataroot_lq="lr", **sampling)
    written(training_options)
    lines = [] if text is None else [f"options.yml: datasets.train.hr_size: {text}"]
    assert run("--check")[:2] == (2 if lines else 0, lines)


def test_unreadable_pairs_are_left_out_of_the_check_if_they_are_skipped(training_options, run, workplace):
    write_pairs(workplace, {**SAME, "c.png": (40, 60)}, {**HALF, "c.png": (5, 5)})
    (workplace / "hr/c.png").write_bytes(b"")
    training_options["datasets"]["train"].update(dataroot_gt="hr", dataroot_lq="lr")
    written(training_options)
    status, lines, _ = run("--check")
    assert (status, len(lines)) == (2, 1)
    assert "hr/c.png: is empty" in lines[0]
    training_options["datasets"]["train"]["skip_bad_pictures"] = True
    written(training_options)
    assert run("--check")[:2] == (0, [])


def test_each_of_several_folders_is_checked(training_options, run):
    training_options["datasets"]["train"].update(dataroot_gt=["pictures", "none", "empty"])
    written(training_options)
    status, lines, _ = run("--check")
    assert status == 2
    assert [line.split(": ")[1:4] for line in lines] == [
        ["datasets.train.dataroot_gt", "none", "no such folder; correct the dataroot"],
        [
            "datasets.train.dataroot_gt",
            "empty",
            "no picture found; correct the dataroot, or include subfolders (recursive",
        ],
    ]


def test_lmdb_without_its_list_is_named(training_options, run):
    changes = {"dataroot_gt": "lmdb", "io_backend": {"type": "lmdb"}}
    training_options["datasets"]["train"].update(changes)
    written(training_options)
    status, lines, _ = run()
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith("options.yml: datasets.train.dataroot_gt: lmdb")


def test_resumed_run_does_not_need_pretrained_weights(training_options, run, workplace):
    written(edited(training_options, {"path.pretrain_network_g": "none.pth"}))
    assert run("--auto_resume", "--check")[0] == 2
    (workplace / "experiments/try/training_states").mkdir()
    (workplace / "experiments/try/training_states/5.state").touch()
    assert run("--auto_resume", "--check")[0] == 0


# Contradictions between valid values


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("precision", "bfloat16", "is bfloat16, which 2 GPUs"), ("compile", True, "is true, which 2 GPUs")],
)
def test_several_gpus_in_one_process_train_in_float32_and_uncompiled(
    setting, value, words, training_options, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    opt = edited(training_options, {"num_gpu": "auto", f"train.{setting}": value})
    [(path, problem)] = implicit_contradictions.data_parallel(opt, Run())
    assert path == f"train.{setting}"
    assert problem.startswith(words)
    assert "torchrun" in problem
    assert not list(implicit_contradictions.data_parallel(opt, Run(launcher="pytorch")))
    assert not list(implicit_contradictions.data_parallel({**opt, "num_gpu": 1}, Run()))


CONTRADICTIONS = {
    "name": ({"name": "../x"}, "name: is '../x', which leads out of the experiments; give a plain name"),
    "name with slashes": (
        {"name": "a/b"},
        "name: is 'a/b', and logs are named after it; give a name without slashes",
    ),
    "name of results": (
        {"datasets.val_1.name": "../x"},
        "datasets.val_1.name: is '../x', which leads out of the results; give a plain name",
    ),
    "networks that a resumed training starts anew": (
        {"path.ignore_resume_networks": ["net_g"]},
        "path.ignore_resume_networks: there is no net_g; did you mean network_g?",
    ),
    "steps of OneCycleLR": (
        {
            "train.scheduler": {"type": "OneCycleLR", "max_lr": 1e-3, "total_steps": 3},
            "train.total_iter": 6,
        },
        "train.scheduler.total_steps: is 3, fewer than total_iter 6; raise it",
    ),
    "no steps of OneCycleLR": (
        {"train.scheduler": {"type": "OneCycleLR", "max_lr": 1e-3}},
        "train.scheduler: OneCycleLR refuses its options: You must define either total_steps OR (epochs AND "
        "steps_per_epoch)",
    ),
    "steps of no length": (
        {"train.scheduler": {"type": "StepLR", "step_size": 0}},
        "train.scheduler: StepLR would divide by zero; give lengths of at least 1",
    ),
    "GPUs": (
        {"num_gpu": 99},
        f"num_gpu: is 99, but torch sees {torch.cuda.device_count()} CUDA devices; set num_gpu: 0 to run on "
        "the CPU, or num_gpu: auto",
    ),
    "top scale": (
        {"scale": 4},
        "scale: overwrites the scale of datasets.val_1; remove one or the other",
    ),
    "idle workers": (
        {"datasets.train.persistent_workers": True},
        "datasets.train.persistent_workers: is true without workers; set num_worker_per_gpu: 1 or more, or "
        "remove the line",
    ),
    "workers of validation": (
        {"datasets.val_1.persistent_workers": True},
        "datasets.val_1.persistent_workers: is true without workers; the toolbox validates without workers; "
        "remove the line",
    ),
    "prefetching": (
        {"datasets.train.prefetch_mode": "cuda"},
        "datasets.train.prefetch_mode: is cuda, but this runs on the CPU; remove the line",
    ),
    "prefetching from persistent workers": (
        {
            "datasets.train.prefetch_mode": "cpu",
            "datasets.train.num_worker_per_gpu": 1,
            "datasets.train.persistent_workers": True,
        },
        "datasets.train.prefetch_mode: is cpu, with which two threads use persistent workers at once; remove "
        "the line",
    ),
    "neither experts nor mapper": (
        {"train.total_iter": 10, "train.random_gates_iter": 6, "train.mapper_alone_iter": 5},
        "train.mapper_alone_iter: is 5, which with random_gates_iter 6 exceeds total_iter 10; lower one of "
        "them",
    ),
    "unused parameters": (
        {"find_unused_parameters": False, "train.mapper_alone_iter": 1},
        "find_unused_parameters: is false, and train.mapper_alone_iter leaves parameters unused; remove "
        "the line",
    ),
    "training on a toolbox data set": (
        {"datasets.train.type": "PairedImageDataset", "datasets.train.gt_size": 96},
        "datasets.train.type: is PairedImageDataset; ImplicitSRModel takes ArbitraryScaleDataset",
    ),
    "validation on a toolbox data set": (
        {"datasets.val_1": {"name": "p", "type": "SingleImageDataset", "dataroot_lq": "pictures"}},
        "datasets.val_1.type: is SingleImageDataset; ImplicitSRModel takes ScaleValidationDataset",
    ),
    "names of LR": (
        {"datasets.train.filename_tmpl": "{}x2"},
        "datasets.train.filename_tmpl: applies only to pairs of HR and LR folders; remove the line",
    ),
    "scale of a training without given LR": (
        {"datasets.train.scale": 2},
        "datasets.train.scale: applies only to pairs of HR and LR; give scale_range: [smallest, largest]",
    ),
    "mixed scales without pairs": (
        {"datasets.val_1.mixed_scales": True},
        "datasets.val_1.mixed_scales: applies only to pairs of HR and LR; remove the line",
    ),
    "kept batches of a learning encoder": (
        {"train.total_iter": 9, "train.replay_batches": 2},
        "train.replay_batches: keeps latents, but the encoder learns; add encoder to train.freeze",
    ),
    "more kept batches than iterations": (
        {"train.replay_batches": 30, "train.total_iter": 30, "train.freeze": ["encoder"]},
        "train.replay_batches: is 30, and total_iter 30, so that none comes again; lower it",
    ),
    "kept batches of a compiled network": (
        {
            "train.total_iter": 9,
            "train.replay_batches": 2,
            "train.freeze": ["encoder"],
            "train.compile": True,
        },
        "train.replay_batches: does not reach the encoder of a compiled network; remove train.compile",
    ),
    "parts of kept batches": (
        {
            "train.total_iter": 9,
            "train.replay_batches": 2,
            "train.freeze": ["encoder"],
            "train.accumulate": 2,
        },
        "train.replay_batches: keeps whole batches; remove train.accumulate and lower batch_size_per_gpu",
    ),
    "parts of a batch": (
        {"train.accumulate": 3},
        "train.accumulate: is 3, more parts than a batch of 2 has samples; lower it",
    ),
    "warm-up": (
        {"train.warmup_iter": 9},
        "train.warmup_iter: is 9, more than total_iter 1; lower it",
    ),
    "random gates": (
        {"train.random_gates_iter": 9},
        "train.random_gates_iter: is 9, more than total_iter 1; lower it",
    ),
    "the mapper alone": (
        {"train.mapper_alone_iter": 9},
        "train.mapper_alone_iter: is 9, more than total_iter 1; lower it",
    ),
    "frozen parts": (
        {"train.freeze": ["encoder", "experts.2"]},
        "train.freeze: no parameter of the network is below 'experts.2'; its parts are encoder, embedding, "
        "experts, mapper, base, and parts of these, such as experts.0",
    ),
    "frozen parts that are no list": (
        {"train.freeze": "encoder"},
        "train.freeze: is 'encoder'; give a list, a text each",
    ),
    "a rate of no part": (
        {"train.optim_g.rates": {"encodr": 0.1}},
        "train.optim_g.rates: no parameter that learns is below 'encodr'; the network has encoder, "
        "embedding, experts, mapper, base, and parts of these, such as experts.0",
    ),
    "a rate of a frozen part": (
        {"train.optim_g.rates": {"encoder": 0.1}, "train.freeze": ["encoder"]},
        "train.optim_g.rates: no parameter that learns is below 'encoder'; the network has encoder, "
        "embedding, experts, mapper, base, and parts of these, such as experts.0",
    ),
    "a rate below zero": (
        {"train.optim_g.rates": {"encoder": -0.1}},
        "train.optim_g.rates.encoder: is -0.1; give a number above 0",
    ),
    "two encoders": (
        {"train.encoder_from": "weights.pth", "path.pretrain_network_g": "weights.pth"},
        "train.encoder_from: is given, and path.pretrain_network_g has an encoder too; remove one of them",
    ),
    "an encoder that is not there": (
        {"train.encoder_from": "none.pth"},
        "train.encoder_from: none.pth: no such file; correct the path",
    ),
    "all frozen": (
        {"train.freeze": ["encoder", "experts", "mapper"]},
        "train.freeze: is encoder, experts, mapper, which leaves nothing to learn; remove one of them",
    ),
    "frozen experts with random gates": (
        {"train.freeze": ["experts"], "train.random_gates_iter": 1},
        "train.freeze: is experts, all experts, and random_gates_iter assigns pixels to them; remove one or "
        "the other",
    ),
    "a frozen mapper that learns alone": (
        {"train.freeze": ["mapper"], "train.mapper_alone_iter": 1},
        "train.freeze: is mapper, and mapper_alone_iter lets the mapper alone learn; remove one or the other",
    ),
    "the only expert as a teacher": (
        {
            "network_g": {"type": "LIIF", "encoder": {"type": "EDSREncoder"}},
            "train.distillation_opt": {"type": "L1Loss", "teacher": "deepest"},
            "train.balance_opt": None,
        },
        "train.distillation_opt.teacher: is deepest, but the network has one expert; give a file of weights",
    ),
    "a teacher that is not there": (
        {"train.distillation_opt": {"type": "L1Loss", "teacher": "deepst.pth"}},
        "train.distillation_opt.teacher: deepst.pth: no such file; correct the path",
    ),
    "no teacher": (
        {"train.distillation_opt": {"type": "L1Loss", "loss_weight": 1.0}},
        "train.distillation_opt.teacher: missing; give deepest, or a file of weights",
    ),
    "restarts": (
        {"train.scheduler.restart_weights": [1, 1]},
        "train.scheduler.restart_weights: has 2 values for 1 restarts; give one for each",
    ),
    "periods": (
        {
            "train.scheduler": {
                "type": "CosineAnnealingRestartLR",
                "periods": [5, 5],
                "restart_weights": [1],
            }
        },
        "train.scheduler.restart_weights: has 1 values for 2 periods; give one for each",
    ),
    "short periods": (
        {"train.scheduler": {"type": "CosineAnnealingRestartLR", "periods": [5]}, "train.total_iter": 6},
        "train.scheduler.periods: end at 5, before total_iter 6; extend or add one",
    ),
    "wandb": (
        {"logger.wandb": {"project": "x"}},
        "logger.wandb.project: wandb reads TensorBoard's log; set use_tb_logger: true",
    ),
    "validation": (
        {"val": GONE},
        "val: missing, so that datasets.val_1 would never be used; add it or remove them",
    ),
    "network": (
        {"network_g": {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3}, "train.balance_opt": GONE},
        f"network_g.type: is EDSR, but ImplicitSRModel trains {OWN_NETWORKS}; change one or the other",
    ),
    "balance of one": (
        {"network_g.expert_depths": GONE, "network_g.type": "LIIF"},
        "train.balance_opt: has nothing to balance in a network with one expert; remove it",
    ),
    "balance of one in a mixture": (
        {"network_g.expert_depths": [3]},
        "train.balance_opt: has nothing to balance in a network with one expert; remove it",
    ),
    "random gates of one": (
        {"network_g.expert_depths": [3], "train.balance_opt": None, "train.random_gates_iter": 1},
        "train.random_gates_iter: has no choice to make in a network with one expert; remove it",
    ),
    "weights of experts": (
        {"train.balance_opt.expert_weights": [1, 1, 1]},
        "train.balance_opt.expert_weights: has 3 values for 2 experts; give one for each",
    ),
    "perceptual loss": (
        {"train.perceptual_opt": {"type": "PerceptualLoss", "layer_weights": {"conv5_4": 1}}},
        "train.perceptual_opt: is of whole pictures, and sample_q gives single pixels; set "
        "datasets.train.sample_q: all",
    ),
    "heads": (
        {"network_g.encoder": {"type": "SwinIREncoder", "depths": [2, 2], "num_heads": [6]}},
        "network_g.encoder.num_heads: has 1 values for 2 depths; give one for each",
    ),
    "width": (
        {"network_g.encoder": {"type": "SwinIREncoder", "embed_dim": 64}},
        "network_g.encoder.num_heads: is [6, 6, 6, 6, 6, 6]; each must divide embed_dim 64",
    ),
    "cut arch": (
        {"network_g.encoder": {"type": "ToolboxEncoder", "arch": "EDSN"}},
        "network_g.encoder.arch: no encoder is cut from EDSN; did you mean EDSR?",
    ),
    "parameters of a cut arch": (
        {"network_g.encoder": {"type": "ToolboxEncoder", "arch": "EDSR", "params": {"num_in_ch": 1}}},
        "network_g.encoder.params: EDSR is an encoder with num_in_ch 3 only, not 1",
    ),
    "a cut arch that cannot be built": (
        {"network_g.encoder": {"type": "ToolboxEncoder", "arch": "MSRResNet", "params": {"upscale": 7}}},
        "network_g.encoder.params: no MSRResNet with {'upscale': 7}: 'MSRResNet' object has no attribute "
        "'upconv1'",
    ),
    "heads of a cut arch": (
        {"network_g.encoder": {"type": "ToolboxEncoder", "arch": "SwinIR", "params": {"num_heads": [6]}}},
        "network_g.encoder.params: no SwinIR with {'num_heads': [6]}: list index out of range",
    ),
    "values of a cut arch": (
        {"network_g.encoder": {"type": "ToolboxEncoder", "arch": "SwinIR", "params": {"depths": 6}}},
        "network_g.encoder.params: no SwinIR with {'depths': 6}: object of type 'int' has no len()",
    ),
    "width of a cut arch": (
        {"network_g.encoder": {"type": "ToolboxEncoder", "arch": "EDSR", "params": {"num_feat": 0}}},
        "network_g.encoder.params: num_feat is 0; give a whole number of at least 1",
    ),
    "queries": (
        {"datasets.train.sample_q": 65},
        "datasets.train.sample_q: is 65, but the smallest HR patch has 8x8 = 64 pixels; lower it or raise "
        "lr_size",
    ),
    "cells": (
        {
            "network_g": {"type": "LTE", "encoder": {"type": "EDSREncoder"}},
            "train.balance_opt": None,
            "datasets.train.scale_range": [1, 6.5],
        },
        "network_g.max_trained_scale: is 4, but datasets.train.scale_range reaches 6.5; give 6.5",
    ),
    "pictures of validation": (
        {"datasets.val_1.dataroot_gt": None},
        "datasets.val_1.dataroot_gt: missing; give a folder of pictures or an LMDB",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradicting_settings_are_reported(case, training_options, run):
    changes, text = CONTRADICTIONS[case]
    written(edited(training_options, changes))
    assert run() == (2, [f"options.yml: {text}"], [])


@pytest.mark.parametrize(
    ("package", "logger", "path"),
    [
        ("wandb", {"use_tb_logger": True, "wandb": {"project": "x"}}, "logger.wandb.project"),
        ("tensorboard", {"use_tb_logger": True}, "logger.use_tb_logger"),
    ],
)
def test_missing_package_of_a_logger_is_named(package, logger, path, training_options, monkeypatch):
    find = importlib.util.find_spec
    training_options["logger"] |= logger
    for is_missing in (True, False):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: (None if is_missing else find("os")) if name == package else find(name),  # noqa: B023
        )
        lines = [str(problem) for problem in check(training_options, Run())[1]]
        text = f"{path}: needs {package}, which is not installed; pip install {package}, or remove the line"
        assert lines == ([text] if is_missing else [])


def test_validation_sets_must_not_share_a_label(training_options, run):
    training_options["datasets"]["val_2"] = training_options["datasets"]["val_1"]
    written(copy.deepcopy(training_options))
    line = (
        "options.yml: datasets.val_2.name: is 'photographs', as that of datasets.val_1 at the same scale; "
        "results would be mixed up, so rename one"
    )
    assert run() == (2, [line], [])


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (
            ["--launcher", "pytorch"],
            {},
            "--launcher: pytorch needs the variables that torchrun sets; start this with torchrun",
        ),
        (
            ["--launcher", "slurm"],
            {},
            "--launcher: slurm needs the variables that srun sets; start this with srun",
        ),
        (
            [],
            {"RANK": "0", "WORLD_SIZE": "2"},
            "--launcher: none, but torchrun started 2 processes; add --launcher pytorch",
        ),
        (
            ["--launcher", "pytorch"],
            {"RANK": "0", "WORLD_SIZE": "2"},
            "datasets.train.batch_size_per_gpu: gives batches of 2, but an epoch of 2 processes has 1 "
            "samples (2 pictures, dataset_enlarge_ratio 1); lower it or set dataset_enlarge_ratio: 2",
        ),
    ],
)
def test_processes(arguments, environment, line, training_options, run, monkeypatch):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    written(training_options)
    assert run(*arguments) == (2, [f"options.yml: {line}"], [])


@pytest.mark.parametrize(("num_gpu", "found"), [(1, True), (0, False)])
def test_processes_must_not_share_a_gpu(num_gpu, found, training_options, run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for variable, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(variable, value)
    written(edited(training_options, {"num_gpu": num_gpu, "datasets.train.dataset_enlarge_ratio": 9}))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    line = (
        "options.yml: --launcher: torchrun started 2 processes, one for each GPU, but torch sees 1; give "
        "--nproc_per_node=1, or set num_gpu: 0 to run on CPUs"
    )
    assert (line in run("--launcher", "pytorch", "--check")[1]) == found
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # another in the other process
    assert line not in run("--launcher", "pytorch", "--check")[1]


@pytest.mark.parametrize(("gpus", "found"), [(1, True), (0, False)])
def test_cuda_graphs_exclude_accumulation_on_a_gpu(gpus, found, training_options, run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    changes = {"num_gpu": gpus, "train.accumulate": 2, "train.compile": "reduce-overhead"}
    written(edited(training_options, changes))
    line = (
        "options.yml: train.compile: is reduce-overhead, which overwrites the results of one part by those "
        "of the next; give default or max-autotune-no-cudagraphs, or remove train.accumulate"
    )
    assert (line in run("--check")[1]) == found


def test_other_processes_than_the_first_are_silent(training_options, run, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    written(edited(training_options, {"name": GONE}))
    assert run("--launcher", "pytorch") == (2, [], [])


# The file itself

INVALID_FILES = {
    "empty": ("", "options.yml: the file is empty; give an option file after -opt"),
    "list": ("- 1\n", "options.yml: holds no keys at the top; options are lines such as 'name: my_network'"),
    "syntax": (
        "name: x\ntrain: [1, 2\nval: 3\n",
        "options.yml:3: not valid YAML (expected ',' or ']', but got ':'); correct it there or just before",
    ),
    "tab": (
        "train:\n\ttotal_iter: 1\n",
        "options.yml:2: not valid YAML (found character '\\t' that cannot start any token); correct it "
        "there or just before",
    ),
    "twice": (
        "train:\n  lr: 1\n  lr: 2\n",
        "options.yml:3: key lr is there twice, first in line 2; remove one",
    ),
    "key": ("name: x\n[1]: 2\n", "options.yml:2: a key is a list or a mapping; give a word"),
    "tag": (
        "name: x\nevil: !!python/object/apply:os.mkdir [executed]\n",
        "options.yml:2: the tag !!python/object/apply:os.mkdir is refused, as options are plain data; "
        "remove it",
    ),
    "own tag": (
        "evil: !code x\n",
        "options.yml:1: the tag '!code' is refused, as options are plain data; remove it",
    ),
}


@pytest.mark.parametrize("case", INVALID_FILES)
def test_invalid_file_is_reported_with_the_line(case, run):
    text, line = INVALID_FILES[case]
    written(text)
    assert run() == (2, [line], [])


def test_missing_or_binary_file_is_reported(run):
    remedy = "give an option file after -opt"
    assert run() == (2, [f"options.yml: No such file or directory; {remedy}"], [])
    Path("options.yml").write_bytes(b"\xff\xfe")
    assert run() == (2, [f"options.yml: not text in UTF-8; {remedy}"], [])
    Path("options.yml").unlink()
    Path("options.yml").mkdir()
    assert run() == (2, [f"options.yml: Is a directory; {remedy}"], [])


# --force_yml

FORCED = {
    "train:total_iter": "--force_yml train:total_iter: has no =; write it as train:total_iter=1000",
    "trian:total_iter=1": "--force_yml trian:total_iter=1: there is no section trian; did you mean train?",
    "train:total_iter=[1": "--force_yml train:total_iter=[1: not valid YAML (expected ',' or ']', but got "
    "'<stream end>'); correct it there or just before",
    "name=!!python/name:os.system": "--force_yml name=!!python/name:os.system: the tag "
    "!!python/name:os.system is refused, as options are plain data; remove it",
    "train:total_iter=many": "options.yml: train.total_iter: is 'many'; give a whole number of at least 1",
    "train:totl_iter=2": "options.yml: train.totl_iter: unknown; did you mean total_iter?",
    "network_g:expert_depths=[__import__('os').mkdir('x')]": "options.yml: network_g.expert_depths: is "
    "[\"__import__('os').mkdir('x')\"]; give whole numbers of at least 2 that grow, such as [2, 3, 4, 5]",
}


@pytest.mark.parametrize("entry", FORCED)
def test_forced_values_are_checked(entry, training_options, run):
    written(training_options)
    assert run("--force_yml", entry) == (2, [FORCED[entry]], [])


def test_forced_values_are_read_as_yaml_or_as_the_toolbox_reads_them():
    values = {
        "1": 1,
        "1e-3": 1e-3,
        "!!float 1e3": 1000.0,
        "none": None,
        "~": None,
        "True": True,
        "[2, a]": [2, "a"],
        "a=b": "a=b",
        "~/data": "~/data",
        "%x": "%x",
        "C: disk": "C: disk",
    }
    for text, value in values.items():
        assert force_options({"a": {"b": 0}}, [f"a:b={text}"]) == {"a": {"b": value}}


# The report


def test_all_problems_are_reported_at_once(training_options, run):
    changes = {
        "name": GONE,
        "train.optim_g.lr": 0,
        "train.warmup_iter": 9,
        "datasets.val_1.dataroot_gt": "none",
    }
    written(edited(training_options, changes))
    status, lines, _ = run()
    assert status == 2
    assert [line.split(": ")[1] for line in lines] == [
        "train.optim_g.lr",
        "name",
        "train.warmup_iter",
        "datasets.val_1.dataroot_gt",
    ]


def paths_in(section, path=""):
    for key, value in section.items():
        yield f"{path}{key}"
        if isinstance(value, dict):
            yield from paths_in(value, f"{path}{key}.")


@pytest.mark.parametrize("is_train", [True, False])
def test_random_faults_are_reported_and_never_raised(is_train, training_options, testing_options):
    rng = random.Random(0)
    junk = [
        None,
        True,
        -1,
        0,
        7,
        1e9,
        float("nan"),
        "",
        "x",
        "~",
        [],
        [None],
        [[1]],
        {},
        {1: 2},
        {"type": 3},
        GONE,
    ]
    opt = training_options if is_train else testing_options
    for _ in range(150):
        changes = {path: rng.choice(junk) for path in rng.sample(sorted(paths_in(opt)), 3)}
        innermost_first = dict(sorted(changes.items(), key=lambda change: -change[0].count(".")))
        for problem in problems_of(edited(opt, innermost_first), is_train=is_train, check_files=True):
            assert "\n" not in problem


def test_debug_shows_a_traceback(training_options, monkeypatch):
    written(edited(training_options, {"name": GONE}))
    monkeypatch.setattr(sys, "argv", ["train.py", "-opt", "options.yml", "--debug"])
    with pytest.raises(OptionsError, match=r"options\.yml: name: missing; give a text"):
        moeisr_plugin.train.main()


def test_train_command_reports_a_problem_in_one_line(training_options, warm):
    written(edited(training_options, {"name": GONE}))
    done = warm.run("-m", "moeisr_plugin.train", "-opt", "options.yml")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "options.yml: name: missing; give a text\n")


def test_later_failure_is_one_line(run, monkeypatch):
    def fail(root):
        raise ValueError("a.png: damaged")

    monkeypatch.setattr("basicsr.train.train_pipeline", fail)
    assert run() == (2, ["train: a.png: damaged (--debug shows where)"], [])
    monkeypatch.setattr(sys, "argv", ["train.py", "--debug"])
    with pytest.raises(ValueError, match=r"a\.png"):
        moeisr_plugin.train.main()


class Fails(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise ValueError("a.png: damaged")


def test_data_worker_failure_is_one_line():
    with pytest.raises(ValueError, match="Traceback") as caught:
        next(iter(DataLoader(Fails(), num_workers=1)))
    assert one_line(caught.value) == "a.png: damaged"


def test_a_wrong_command_line_is_one_line(run):
    assert run("--chekc") == (2, ["train.py: unrecognized arguments: --chekc (see --help)"], [])


@pytest.mark.parametrize("module", [moeisr_plugin.train, moeisr_plugin.test])
def test_check_stops_after_valid_options(module, training_options, testing_options, run):
    written(training_options if module is moeisr_plugin.train else testing_options)
    assert run("--check", module=module) == (0, [], ["options.yml: the options are fine"])


def test_help_mentions_check_and_debug(run):
    written("")
    status, _, lines = run("--help")
    assert status == 0
    assert all(any(flag in line for line in lines) for flag in ("--check", "--debug", "--force_yml"))


# Tests

TESTS = {
    "weights": (
        {"path.pretrain_network_g": GONE},
        "path.pretrain_network_g: missing; give a file of weights",
    ),
    "no weights": (
        {"path.pretrain_network_g": "experiments/none.pth"},
        "path.pretrain_network_g: experiments/none.pth: no such file; correct the path",
    ),
    "val": ({"val": GONE}, "val: missing; give a section of keys and values"),
    "data sets": ({"datasets": {}}, "datasets: is empty; give a data set, as datasets.test_1"),
    "phase": ({"datasets.tset_2": {}}, "datasets.tset_2: unknown; did you mean test?"),
}


@pytest.mark.parametrize("case", TESTS)
def test_options_of_a_test_are_checked_for_it(case, testing_options, run):
    changes, text = TESTS[case]
    written(edited(testing_options, changes))
    assert run(module=moeisr_plugin.test) == (2, [f"options.yml: {text}"], [])


# Valid options


def problems_of(opt, *, is_train=True, check_files=False):
    return [str(problem) for problem in check(opt, Run(is_train=is_train), check_files=check_files)[1]]


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_shipped_option_files_pass(path):
    opt = with_network_from(read_options(path))
    assert problems_of(opt, is_train="train" in path.parts) == []


def test_numbers_and_words_given_as_text_are_converted(training_options):
    changes = {
        "name": 2024,
        "train.optim_g.lr": "1e-4",
        "train.total_iter": 1e6,
        "datasets.train.batch_size_per_gpu": "2",
        "datasets.train.use_rot": "False",
        "datasets.val_1.scale": ["2", 3.5],
        "network_g.expert_depths": ["2", 3],
    }
    opt, problems = check(edited(training_options, changes), Run())
    assert problems == []
    assert opt["name"] == "2024"
    assert opt["train"]["optim_g"]["lr"] == 1e-4
    assert (opt["train"]["total_iter"], type(opt["train"]["total_iter"])) == (1000000, int)
    assert opt["datasets"]["train"]["batch_size_per_gpu"] == 2
    assert opt["datasets"]["train"]["use_rot"] is False
    assert opt["datasets"]["val_1"]["scale"] == [2, 3.5]
    assert opt["network_g"]["expert_depths"] == [2, 3]


@pytest.mark.parametrize(
    "changes",
    [
        {"train.optim_g": {"type": "AdamW", "lr": 1e-4, "fused": True, "weight_decay": "1e-2"}},
        {"train.optim_g": {"type": "SGD", "lr": 1e-4, "momentum": 0.9, "nesterov": True}},
        {"train.scheduler": {"type": "CosineAnnealingLR", "T_max": 10, "eta_min": "1e-6"}},
        {"train.scheduler": {"type": "CosineAnnealingRestartLR", "periods": [1]}},
        {"train.precision": "bfloat16", "train.channels_last": True, "train.compile": True},
        {"train.compile": "reduce-overhead", "train.tf32": True, "datasets.train.max_pixels": 10**8},
        {"train.accumulate": 2, "train.clip_grad_norm": 0.5, "train.max_bad_steps": 10},
        {"datasets.train.skip_bad_pictures": True, "datasets.train.cache": "memory"},
        {"val": GONE, "datasets.val_1": GONE},
        {"datasets.train.filename_tmpl": "{}"},
        {"datasets.val_1.dataroot_lq": "pictures", "datasets.val_1.scale": GONE},
        {"manual_seed": None, "train.balance_opt": None, "val.metrics": None},
        {"network_g": {"type": "LTE", "encoder": {"type": "RDNEncoder"}}, "train.balance_opt": GONE},
        {
            "model_type": "SRModel",
            "network_g": {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3},
            "train.balance_opt": GONE,
            "datasets.train.type": "PairedImageDataset",
            "datasets.train.gt_size": 96,
            "datasets.train.use_shuffle": True,
        },
    ],
)
def test_valid_settings_pass(changes, training_options):
    assert problems_of(edited(training_options, changes)) == []


def test_keys_may_be_merged_from_an_anchor(training_options):
    text = "a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\n"
    written(text)
    assert read_options("options.yml")["b"] == {"x": 1, "y": 3}


SRMODEL = """
name: EDSR
model_type: SRModel
scale: 2
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: photographs
    type: PairedImageDataset
    dataroot_gt: pictures
    dataroot_lq: pictures
    filename_tmpl: '{}x2'
    io_backend: {type: disk, client: x}
    gt_size: 96
    use_hflip: true
    num_worker_per_gpu: 6
    batch_size_per_gpu: 16
    prefetch_mode: ~
  val:
    name: v
    type: PairedImageDataset
    dataroot_gt: pictures
    dataroot_lq: pictures
    io_backend: {type: disk}
network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: 64, upscale: 2, rgb_mean: [0.4, 0.4, 0.4]}
path: {pretrain_network_g: ~, strict_load_g: true, resume_state: ~}
train:
  ema_decay: 0.999
  optim_g: {type: Adam, lr: !!float 1e-4, weight_decay: 0, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [200000], gamma: 0.5}
  total_iter: 300000
  warmup_iter: -1
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
val:
  val_freq: !!float 5e3
  save_img: false
  metrics:
    psnr: {type: calculate_psnr, crop_border: 2, test_y_channel: false, better: higher}
    niqe: {type: calculate_niqe, crop_border: 2}
logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb: {project: ~, resume_id: ~}
dist_params: {backend: nccl, port: 29500}
"""


def test_options_of_toolbox_classes_pass_unchanged():
    written(SRMODEL)
    opt, problems = check(read_options("options.yml"), Run())
    assert problems == []
    assert opt == read_options("options.yml")


def test_toolbox_keys_are_checked_for_any_model():
    written(SRMODEL)
    changes = {
        "datasets.train.dataroot_lq": "none",
        "datasets.val.dataroot_gt": "empty",
        "train.total_iters": 5,
        "network_g.num_feet": 64,
        "val.metrics.psnr.crop_border": GONE,
    }
    opt = edited(read_options("options.yml"), changes)
    assert sorted(problems_of(opt, check_files=True)) == [
        "datasets.train.dataroot_lq: none: no such folder; correct the path",
        "datasets.val.dataroot_gt: empty: the folder is empty; correct the path",
        "network_g.num_feet: unknown; did you mean num_feat?",
        "train.total_iters: unknown; did you mean total_iter?",
        "val.metrics.psnr.crop_border: missing; give a whole number of at least 0",
    ]


def test_other_models_and_networks_may_have_keys_of_their_own():
    written(SRMODEL)

    class TakesAny(nn.Module):
        def __init__(self, depth: int = 1, **others):
            super().__init__()

    ARCH_REGISTRY.register(TakesAny)
    try:
        changes = {
            "model_type": "RealESRGANModel",
            "gt_usm": True,
            "resize_prob": [0.2, 0.7, 0.1],
            "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3},
            "network_g": {"type": "TakesAny", "whatever": 1},
            "train.gan_opt": {"type": "GANLoss", "gan_type": "vanilla"},
            "train.net_d_iters": 1,
            "path.strict_load_d": True,
            "datasets.train.blur_kernel_size": 21,
        }
        assert problems_of(edited(read_options("options.yml"), changes)) == []
    finally:
        ARCH_REGISTRY._obj_map.pop("TakesAny")
