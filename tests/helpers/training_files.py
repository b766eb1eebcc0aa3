"""Artificial files of a training and its evaluation, for tests of publishing."""

import hashlib
import json

import torch
import yaml
from basicsr.archs import build_network
from basicsr.utils.options import dict2str
from references import TINY_ENCODER, lively

from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.options.parse import write_options

NETWORK = {"type": "MoEISRLIIF", "encoder": TINY_ENCODER, "hidden_dim": 8}
CARD = {
    "licence": "Apache-2.0",
    "limits": "Noise stays.",
    "hardware": "one core of a laptop",
    "training_images": [
        {"name": "Birds", "licence": "CC0", "source": "https://example.org/birds", "pictures": 30},
        {"name": "Boats", "licence": "CC BY 4.0", "source": "Sailor, 1999", "pictures": 12},
    ],
}
OPTIONS = {
    "name": "small_mixture",
    "manual_seed": 7,
    "num_gpu": 1,
    "network_g": NETWORK,
    "datasets": {
        "train": {
            "dataroot_gt": "/home/someone/birds",
            "lr_size": 24,
            "sample_q": 576,
            "scale_range": [1, 4],
            "batch_size_per_gpu": 8,
        }
    },
    "train": {
        "ema_decay": 0.999,
        "optim_g": {"type": "Adam", "lr": 0.001},
        "scheduler": {"type": "MultiStepLR", "milestones": [200, 300]},
        "total_iter": 400,
        "warmup_iter": -1,
        "random_gates_iter": 50,
        "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0},
    },
}
PROCESSES = {"dist": True, "world_size": 2}  # added by the toolbox
HEADER = """# GENERATE TIME: Tue Nov 24 19:11:15 2026
# CMD:
# /usr/train.py -opt options/train/small.yml --force_yml manual_seed=7
"""


def log(first, progress, ended=None):
    """Return a log in the format of the toolbox.

    Args:
        first: the first iteration.
        progress: {iteration: minute}.
        ended: the minute of the end, if the training ended.
    """
    lines = [
        "2026-11-24 08:00:00,000 INFO: \n   Version Information: \n\tBasicSR: 1.4.2",
        f"2026-11-24 08:00:00,000 INFO: {dict2str(OPTIONS | PROCESSES)}",
        "2026-11-24 08:00:01,000 INFO: Training statistics:\n\tNumber of train images: 42\n\tTotal epochs: 3",
        f"2026-11-24 {first[1]}:00,000 INFO: Start training from epoch: 0, iter: {first[0]}",
    ]
    lines += [
        f"2026-11-24 {at}:00,500 INFO: [small..][epoch:  0, iter:{iteration:8,d}, lr:(9.998e-04,)] [eta: 1 s]"
        for iteration, at in progress.items()
    ]
    lines += [f"2026-11-24 {ended}:00,000 INFO: End of training. Time consumed: 0:10:00"] if ended else []
    return "\n".join(lines) + "\n"


def write_experiment(root):
    """Write the folder of a training that was interrupted once, with checkpoints."""
    (root / "models").mkdir(parents=True)
    (root / "small.yml").write_text(HEADER)
    write_options_of(root, OPTIONS)
    (root / "train_a.log").write_text(log((0, "09:00"), {100: "09:10", 200: "09:20"}))
    (root / "train_b.log").write_text(log((100, "10:00"), {200: "10:12", 300: "10:20"}, ended="10:30"))
    nets = [lively(build_network(NETWORK), seed=seed) for seed in (0, 1)]
    checkpoint = {
        "params": nets[0].state_dict(),
        "params_ema": nets[1].state_dict(),
        "network_g": nets[0].hyper_parameters,
        "optimizer": {"momentum": torch.ones(1000)},
    }
    for name in ("net_g_200.pth", "net_g_latest.pth"):
        save_checkpoint(root / "models" / name, checkpoint)


def write_options_of(root, options):
    """Write the resolved options as a training does."""
    (root / "options.yml").write_text(write_options(options))


def write_card(path, **more):
    path.write_text(yaml.safe_dump({**CARD, **more}))


def write_results(path, weights, dataset="birds", protocol="basicsr", notes=()):
    """Write a results.json of one data set, for a file of weights and another network."""
    figures = {"ssim": 0.91234567, "encode_seconds": 0.1, "decode_seconds": 0.25, "share_d2": 0.75}
    averages = [
        {
            "weights": name,
            "dataset": dataset,
            "scale": scale,
            "lr": "given",
            "pictures": 2,
            "psnr": psnr,
            **more,
        }
        for scale, start in (("2", 33.0), ("3.5", 30.0))
        for name, psnr, more in (
            ("bicubic", start, {"ssim": 0.8}),
            ("net_g_200", start + 1.23456, figures),
            ("other", start + 5, figures),
        )
    ]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    report = {
        "dataset": dataset,
        "protocol": protocol,
        "machine": {"cpu": "Fast CPU", "threads": 1, "torch": "2.13.0"},
        "networks": {"other": {"sha256": "0" * 64}, "net_g_200": {"sha256": digest}},
        "averages": averages,
        "notes": list(notes),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report))
    return path
