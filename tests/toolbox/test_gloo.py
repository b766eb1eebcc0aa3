"""Distributed training starts on CPUs."""

import socket
from collections import OrderedDict

import pytest
import torch
from basicsr.utils import dist_util, options

from moeisr_plugin.toolbox.distributed import with_gloo
from moeisr_plugin.toolbox.options import options_in_place


def test_two_processes_communicate_over_gloo_without_cuda(warm):
    code = (
        "import torch\n"
        "from moeisr_plugin.toolbox.distributed import with_gloo\n"
        "with_gloo(None)('pytorch')\n"
        "total = torch.tensor([torch.distributed.get_rank() + 1.0])\n"
        "torch.distributed.all_reduce(total)\n"
        "print(torch.distributed.get_backend(), total.item(), torch.multiprocessing.get_start_method())\n"
        "torch.distributed.destroy_process_group()\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    both = [warm.start("-c", code, RANK=rank, **settings) for rank in "01"]
    printed = [process.communicate() for process in both]
    assert [stdout.split() for stdout, _ in printed] == [["gloo", "3.0", "spawn"]] * 2, printed


@pytest.mark.parametrize("module", [dist_util, options])
def test_slurm_without_cuda_is_refused_in_one_line(module, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torchrun"):
        module.init_dist("slurm")


def test_with_cuda_the_function_of_the_toolbox_runs(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with_gloo(lambda *arguments, **keywords: calls.append((arguments, keywords)))("slurm", "nccl", port=1)
    assert calls == [(("slurm", "nccl"), {"port": 1})]


@pytest.mark.parametrize("num_gpu", [0, 1])
def test_processes_that_use_no_gpu_start_gloo_on_a_machine_with_one(num_gpu, monkeypatch):
    started = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "init_process_group", started.append)
    monkeypatch.setattr(options, "init_dist", with_gloo(lambda launcher: started.append("nccl")))
    with options_in_place(OrderedDict(num_gpu=num_gpu), []):
        options.init_dist("pytorch")
    options.init_dist("pytorch")
    assert started == ["gloo" if num_gpu == 0 else "nccl", "nccl"]
