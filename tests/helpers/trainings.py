"""Train tiny networks in processes forked from a server that has already imported the toolbox."""

import json
import multiprocessing
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import yaml
from basicsr.models import build_model

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["moeisr_plugin.train", "basicsr.train"])


def options(photographs: Path, **train: Any) -> dict[str, Any]:
    """Return options: 12 iterations with 10 samples per epoch, saved every 3rd and validated every 6th."""
    return {
        "name": "tiny",
        "model_type": "ImplicitSRModel",
        "num_gpu": 0,
        "manual_seed": 5,
        "datasets": {
            "train": {
                "name": "photographs",
                "type": "ArbitraryScaleDataset",
                "dataroot_gt": str(photographs),
                "lr_size": 8,
                "sample_q": 32,
                "num_worker_per_gpu": 0,
                "batch_size_per_gpu": 2,
                "dataset_enlarge_ratio": 5,
            },
            "val_1": validation_set(photographs, 2),
            "val_2": validation_set(photographs, 3.7),
        },
        "network_g": {
            "type": "MoEISRLIIF",
            "encoder": {"type": "EDSREncoder", "num_feat": 4, "num_block": 1},
            "hidden_dim": 6,
            "expert_depths": [2, 3],
            "mapper_depth": 1,
        },
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0.9,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [4, 8], "gamma": 0.5},
            "total_iter": 12,
            "warmup_iter": 5,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            "balance_opt": {"type": "BalanceLoss", "loss_weight": 0.1, "reduction": "sum"},
            **train,
        },
        "val": {
            "val_freq": 6,
            "save_img": False,
            "metrics": {"psnr": {"type": "calculate_psnr_protocol", "better": "higher"}},
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 3, "use_tb_logger": False},
    }


def validation_set(photographs: Path, scale: float) -> dict[str, Any]:
    return {
        "name": "photographs",
        "type": "ScaleValidationDataset",
        "dataroot_gt": str(photographs),
        "scale": scale,
        "protocol": "benchmark",
    }


def start(
    folder: Path,
    opt: dict[str, Any],
    *arguments: str,
    environment: dict[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> BaseProcess:
    """Start a training in `folder` that prints to `folder/printed`. Call `prepare` before it."""
    folder.mkdir(exist_ok=True)
    (folder / "options.yml").write_text(yaml.safe_dump(opt))
    process = CONTEXT.Process(target=_train, args=(folder, arguments, environment or {}, prepare))
    process.start()
    return process


def start_ranks(folder: Path, opt: dict[str, Any], *arguments: str, **more: Any) -> list[BaseProcess]:
    """Start a training in two CPU processes, as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    group["CUDA_VISIBLE_DEVICES"] = ""
    return [
        start(folder, opt, "--launcher", "pytorch", *arguments, environment={**group, "RANK": rank}, **more)
        for rank in ("0", "1")
    ]


def model_of(opt: dict[str, Any], **path: Path) -> Any:
    """Build the model of a training in this process."""
    single = {"dist": False, "rank": 0, "world_size": 1, "is_train": True}
    return build_model({**opt, **single, "path": {**opt["path"], **path}})


def _train(
    folder: Path, arguments: Sequence[str], environment: dict[str, str], prepare: Callable[[], None] | None
) -> None:
    from moeisr_plugin import train

    with open(folder / "printed", "ab") as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    os.setpgrp()  # so that a test can also signal its data workers
    os.environ.update(environment)
    os.chdir(folder)
    multiprocessing.set_start_method(
        "fork", force=True
    )  # for data workers, as in a training started from a shell
    torch.set_num_threads(1)
    sys.argv = ["train.py", "-opt", "options.yml", *arguments]
    if prepare is not None:
        prepare()
    train.main()


def without_noise() -> None:
    """Remove the Gumbel noise, which differs between processes, and print all digits of the logs."""
    from basicsr.utils import logger

    from moeisr_plugin.archs import routing

    def gates(scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return scores.softmax(dim=1)

    def print_exactly(self: Any, log: dict[str, Any]) -> None:
        print("exactly:", json.dumps({key: log[key] for key in log if key.startswith(EXACT)}))

    routing.gumbel_gates = gates
    logger.MessageLogger.__call__ = logger.master_only(print_exactly)


EXACT = ("l_", "share_", "confidence", "depth_corr")


def finish(*processes: BaseProcess, timeout: float = 120) -> list[int | None]:
    """Wait for processes to end. Return their exit codes."""
    for process in processes:
        process.join(timeout)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]


def wait_until(true: Callable[[], Any], *, timeout: float = 120) -> None:
    """Wait until a condition is true.

    Raises:
        TimeoutError: If it is not true after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def printed(folder: Path) -> str:
    """Return what trainings in the folder have printed so far."""
    output = folder / "printed"
    return output.read_text() if output.exists() else ""


def exact_logs(folder: Path) -> list[dict[str, float]]:
    """Return the logged values of each iteration of a training `without_noise`."""
    lines = printed(folder).splitlines()
    return [json.loads(line.removeprefix("exactly: ")) for line in lines if line.startswith("exactly: ")]


def load(folder: Path, name: str) -> dict[str, Any]:
    """Load a file that a training saved in the folder of its experiment."""
    return torch.load(folder / "experiments" / "tiny" / name, weights_only=False)


def assert_identical(one: Any, other: Any, where: str = "") -> None:
    """Check that nested values are equal, and tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_identical(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_identical(a, b, f"{where}/{i}")
    else:
        assert one == other, where


def archived(folder):
    return [path.name for path in (folder / "experiments").iterdir() if path.name != "tiny"]


def killed_after(whole, folder, *iterations):
    """Copy a complete training without the files saved at other iterations, as if it was killed."""
    shutil.copytree(whole, folder)
    (folder / "printed").unlink()
    experiment = folder / "experiments/tiny"
    for path in [*experiment.glob("models/*"), *experiment.glob("training_states/*")]:
        if path.stem.removeprefix("net_g_") not in map(str, iterations):
            path.unlink()
    return folder


def assert_same_end(folder, whole):
    assert_identical(load(folder, "models/net_g_latest.pth"), load(whole, "models/net_g_latest.pth"))
    assert_identical(load(folder, "training_states/12.state"), load(whole, "training_states/12.state"))
    assert archived(folder) == []


def run_cli(folder: Path, *arguments: object) -> tuple[int | None, str]:
    """Run `moeisr` in `folder`, in a process of its own. Return its exit code and what it printed."""
    target = folder / "printed_by_moeisr"
    target.unlink(missing_ok=True)
    process = CONTEXT.Process(target=_run_cli, args=(folder, [str(each) for each in arguments], target))
    process.start()
    (code,) = finish(process)
    return code, target.read_text()


def _run_cli(folder: Path, arguments: list[str], target: Path) -> None:
    from moeisr_plugin.cli import main

    with open(target, "ab") as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.exit(main(arguments))
