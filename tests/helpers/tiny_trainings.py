"""Train a tiny network in the test process, iteration by iteration."""

import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.models import build_model


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
    """Train for some iterations. Return the model and its logs without durations."""
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
