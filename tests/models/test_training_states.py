"""Selection of the training state to resume from, and refused states."""

import os
from pathlib import Path

import basicsr.train
import pytest
import torch
from basicsr.models.lr_scheduler import MultiStepRestartLR

from moeisr_plugin.checkpoints.network import CheckpointError
from moeisr_plugin.models import training_states


def state_options(folder: Path, *, auto_resume: bool, resume_state: Path | None = None) -> dict:
    path = {"training_states": str(folder), "models": str(folder), "experiments_root": str(folder)}
    return {
        "path": {**path, "visualization": str(folder), "resume_state": resume_state and str(resume_state)},
        "auto_resume": auto_resume,
        "manual_seed": 5,
        "network_g": {"type": "EDSR"},
        "train": {"total_iter": 2000},
    }


def save_state(folder: Path, iteration: int) -> dict:
    """Save a state of the toolbox after one step of Adam."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters(), 1e-3)
    scheduler = MultiStepRestartLR(optimizer, milestones=[2, 3], gamma=0.5)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {"epoch": 1, "iter": iteration}
    state |= {"optimizers": [optimizer.state_dict()], "schedulers": [scheduler.state_dict()]}
    torch.save({"params": layer.state_dict()}, folder / f"net_g_{iteration}.pth")
    torch.save(state, folder / f"{iteration}.state")
    return state


def test_state_of_the_toolbox_is_loaded_onto_the_cpu(tmp_path):
    saved = save_state(tmp_path, 7)
    opt = state_options(tmp_path, auto_resume=False, resume_state=tmp_path / "7.state")
    state = basicsr.train.load_resume_state(opt)
    assert state is not None
    assert state["schedulers"] == saved["schedulers"]
    loaded, kept = (s["optimizers"][0]["state"][0]["exp_avg"] for s in (state, saved))
    assert loaded.device.type == "cpu"
    torch.testing.assert_close(loaded, kept)
    assert opt["path"]["pretrain_network_g"].endswith("net_g_7.pth")
    assert opt["resumed"] == {"iter": 7, "epoch": 1, "consumed": 0}


def test_auto_resume_selects_the_largest_iteration(tmp_path, monkeypatch):
    states = tmp_path / "states"
    states.mkdir()
    for iteration in (900, 1000, 50):
        save_state(states, iteration)
    monkeypatch.chdir(tmp_path)
    opt = state_options(states, auto_resume=True)
    state = basicsr.train.load_resume_state(opt)
    assert state is not None
    assert state["iter"] == 1000
    assert opt["path"]["resume_state"] == str(states / "1000.state")


def test_resumed_training_keeps_its_seed(tmp_path):
    torch.save({**save_state(tmp_path, 7), "manual_seed": 1234}, tmp_path / "7.state")
    opt = state_options(tmp_path, auto_resume=True)
    basicsr.train.load_resume_state(opt)
    assert opt["manual_seed"] == 1234


@pytest.mark.parametrize("auto_resume", [True, False])
def test_missing_folder_means_no_state(tmp_path, auto_resume):
    opt = state_options(tmp_path / "none", auto_resume=auto_resume)
    assert basicsr.train.load_resume_state(opt) is None
    assert "resumed" not in opt


def test_ignored_networks_may_be_missing(tmp_path):
    save_state(tmp_path, 7)
    (tmp_path / "net_g_7.pth").unlink()
    opt = state_options(tmp_path, auto_resume=True)
    with pytest.raises(CheckpointError, match="none of its 1 training states can be used"):
        basicsr.train.load_resume_state(opt)
    opt["path"]["ignore_resume_networks"] = ["network_g"]
    assert basicsr.train.load_resume_state(opt) is not None


def test_truncated_state_is_refused_with_one_line(tmp_path):
    save_state(tmp_path, 7)
    path = tmp_path / "7.state"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"7\.state: not a readable checkpoint") as caught:
        basicsr.train.load_resume_state(state_options(tmp_path, auto_resume=False, resume_state=path))
    assert "\n" not in str(caught.value)


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_loading_a_state_executes_no_code(tmp_path):
    path = tmp_path / "7.state"
    torch.save({"iter": 7, "payload": Payload(tmp_path / "executed")}, path)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        basicsr.train.load_resume_state(state_options(tmp_path, auto_resume=False, resume_state=path))
    assert not (tmp_path / "executed").exists()


def test_has_finished_reads_the_iteration_of_the_final_networks(tmp_path):
    opt = state_options(tmp_path, auto_resume=True)
    assert not training_states.has_finished(opt)
    for iteration, finished in ((1999, False), (2000, True)):
        torch.save({"params": {}, "iter": iteration}, tmp_path / "net_g_latest.pth")
        assert training_states.has_finished(opt) is finished
    torch.save({"params": {}}, tmp_path / "net_g_latest.pth")  # saved by another model of the toolbox
    assert not training_states.has_finished(opt)


def test_only_a_resumed_run_without_networks_reuses_its_folders(tmp_path):
    opt = state_options(tmp_path, auto_resume=False)
    assert not training_states.reuse_unfinished_folders(opt)
    opt["auto_resume"] = True
    assert training_states.reuse_unfinished_folders(opt)
    save_state(tmp_path, 7)
    assert not training_states.reuse_unfinished_folders(opt)
