"""A small file that names a huge network is refused before the network fills the memory."""

import resource
import time

import pytest
import torch

from moeisr_plugin.archs.implicit_arch import MoEISRLIIF
from moeisr_plugin.checkpoints.building import SPARE_ELEMENTS, bounded_by
from moeisr_plugin.checkpoints.network import CheckpointError, network_from, save_checkpoint
from moeisr_plugin.cli import main

ENCODER = {"type": "EDSREncoder", "num_feat": 4, "num_block": 1}


def checkpoint(path, **changes):
    torch.manual_seed(0)
    net = MoEISRLIIF(encoder=ENCODER, hidden_dim=6, expert_depths=[2, 3])
    save_checkpoint(path, {"params": net.state_dict(), "network_g": {**net.hyper_parameters, **changes}})
    return path


def cost_of_refusal(path, message):
    """Return seconds and gigabytes that a refusal takes."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(CheckpointError, match=message):
        network_from(path)
    return time.monotonic() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_dim": 512, "expert_depths": list(range(100, 500))},
        {"encoder": {"type": "EDSREncoder", "num_feat": 512, "num_block": 512}},
        {"encoder": {"type": "RDNEncoder", "num_feat": 512, "num_block": 500, "num_layer": 500}},
    ],
)
def test_sizes_that_are_too_large_together_are_refused_early(tmp_path, changes):
    path = checkpoint(tmp_path / "bomb.safetensors", **changes)
    seconds, gigabytes = cost_of_refusal(path, "describe a network far larger than the weights in the file")
    assert seconds < 20
    assert gigabytes < 0.5


@pytest.mark.parametrize("changes", [{"hidden_dim": -6}, {"expert_depths": [-2, 3]}])
def test_negative_sizes_are_refused(tmp_path, changes):
    with pytest.raises(CheckpointError, match="which describes no network"):
        network_from(checkpoint(tmp_path / "a.safetensors", **changes))


def test_a_converted_file_is_bounded(tmp_path, capsys):
    encoder = {"name": "edsr-baseline", "args": {"no_upsampling": True, "n_resblocks": 1_000_000}}
    mlp = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [256] * 4}}
    args = {"encoder_spec": encoder, "imnet_spec": mlp}
    torch.save({"model": {"name": "liif", "args": args, "sd": {"a": torch.zeros(1)}}}, tmp_path / "bomb.pth")
    assert main(["convert", str(tmp_path / "bomb.pth"), str(tmp_path / "out.pth")]) == 2
    error = capsys.readouterr().err
    assert "describe a network far larger than the weights" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.pth").exists()


def test_building_after_a_refusal_is_not_bounded():
    with pytest.raises(ValueError, match="far larger"), bounded_by({}):
        torch.nn.Linear(SPARE_ELEMENTS, 2)
    torch.nn.Linear(SPARE_ELEMENTS, 2)
