"""Pictures and options that the tests share."""

import os
import signal

import pytest
import torch
from PIL import Image
from skimage import data
from warm import WarmPython

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run as numpy; read when Triton is imported

import moeisr_plugin  # noqa: F401  before any test imports the toolbox


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder with two small photographs, of odd and non-square size."""
    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray(data.astronaut()[40:143, 170:281]).save(folder / "astronaut.png")
    Image.fromarray(data.chelsea()[80:191, 100:197]).save(folder / "chelsea.png")
    return folder


@pytest.fixture(scope="session")
def warm():
    """Start Python processes in which slow imports are done."""
    python = WarmPython()
    yield python
    python.close()


@pytest.fixture
def training_options(photographs):
    """Valid options of a very short training; each test receives a new copy."""
    return {
        "name": "try",
        "model_type": "ImplicitSRModel",
        "num_gpu": 0,
        "manual_seed": 0,
        "datasets": {
            "train": {
                "name": "photographs",
                "type": "ArbitraryScaleDataset",
                "dataroot_gt": str(photographs),
                "lr_size": 8,
                "sample_q": 16,
                "num_worker_per_gpu": 0,
                "batch_size_per_gpu": 2,
            },
            "val_1": {
                "name": "photographs",
                "type": "ScaleValidationDataset",
                "dataroot_gt": str(photographs),
                "scale": 2,
                "protocol": "benchmark",
            },
        },
        "network_g": {
            "type": "MoEISRLIIF",
            "encoder": {"type": "EDSREncoder", "num_feat": 8, "num_block": 1},
            "hidden_dim": 8,
            "expert_depths": [2, 3],
        },
        "path": {},
        "train": {
            "optim_g": {"type": "Adam", "lr": 1e-4},
            "scheduler": {"type": "MultiStepLR", "milestones": [10]},
            "total_iter": 1,
            "pixel_opt": {"type": "L1Loss"},
            "balance_opt": {"type": "BalanceLoss"},
        },
        "val": {
            "val_freq": 1,
            "save_img": False,
            "metrics": {"psnr": {"type": "calculate_psnr_protocol"}},
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 1, "use_tb_logger": False},
    }


@pytest.fixture
def heard_interrupts():
    """Ctrl-C raises KeyboardInterrupt, also in tests that a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def restored_tf32():
    """Restore the process-wide TF32 switches, which a training with `tf32: true` sets."""
    precision, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    if torch.get_float32_matmul_precision() != precision:
        torch.set_float32_matmul_precision(precision)
    if torch.backends.cudnn.allow_tf32 != convolutions:
        torch.backends.cudnn.allow_tf32 = convolutions
