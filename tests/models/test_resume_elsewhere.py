"""Trainings that continue a state of another experiment, of another folder, or by a script of one's own."""

import re
import runpy
import shutil
import sys
from functools import partial
from pathlib import Path

import basicsr
import pytest
import torch
from trainings import assert_identical, finish, killed_after, load, model_of, options, printed, start

from moeisr_plugin.models import random_state as random_states

pytestmark = pytest.mark.slow

TRAIN = Path(basicsr.__file__).with_name("train.py")
END = "models/net_g_latest.pth"


@pytest.fixture(scope="module")
def whole(photographs, tmp_path_factory):
    """Folder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole")
    assert finish(start(folder, options(photographs))) == [0], printed(folder)
    return folder


def end_of(folder, name):
    return torch.load(folder / "experiments" / name / END, weights_only=True)


def resuming(photographs, state, **more):
    opt = options(photographs)
    opt["path"] = {"resume_state": str(state), **more}
    return opt


def run_script(script):
    runpy.run_path(str(script), run_name="__main__")
    sys.exit(0)


def own_script(folder, change=lambda text: text):
    """Write a copy of the toolbox's train.py that imports this package first."""
    script = folder / "project/train.py"
    script.parent.mkdir(parents=True)
    script.write_text("import moeisr_plugin\n\n" + change(TRAIN.read_text()))
    return script


def test_state_of_another_experiment_continues_exactly(whole, photographs, tmp_path):
    former = killed_after(whole, tmp_path / "former", 3)
    opt = {**resuming(photographs, former / "experiments/tiny/training_states/3.state"), "name": "other"}
    assert finish(start(tmp_path / "run", opt)) == [0], printed(tmp_path / "run")
    assert_identical(end_of(tmp_path / "run", "other"), load(whole, END))
    assert not (former / "experiments/tiny/models/net_g_6.pth").exists()


def test_older_experiment_of_the_name_is_kept_under_another(whole, photographs, tmp_path):
    former, run = killed_after(whole, tmp_path / "former", 3), shutil.copytree(whole, tmp_path / "run")
    opt = resuming(photographs, former / "experiments/tiny/training_states/3.state")
    opt["train"]["total_iter"] = 5
    assert finish(start(run, opt)) == [0], printed(run)
    assert load(run, END)["iter"] == 5
    (archived,) = (path for path in (run / "experiments").iterdir() if path.name != "tiny")
    assert (archived / "models/net_g_12.pth").exists()
    assert not (run / "experiments/tiny/models/net_g_12.pth").exists()


def test_moved_state_finds_the_networks_beside_it(whole, photographs, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("models/net_g_3.pth", "training_states/3.state"):
        shutil.copy(whole / "experiments/tiny" / name, moved)
    opt = resuming(photographs, moved / "3.state")
    run = tmp_path / "run"
    assert finish(start(run, opt, "--auto_resume")) == [0], printed(run)
    assert_identical(load(run, END), load(whole, END))
    assert finish(start(run, opt, "--auto_resume")) == [0]  # its own end counts from now on
    assert "training has finished at iteration 12" in printed(run)


def test_state_without_its_networks_is_refused_before_anything_is_written(whole, photographs, tmp_path):
    state = tmp_path / "3.state"
    shutil.copy(whole / "experiments/tiny/training_states/3.state", state)
    assert finish(start(tmp_path / "run", resuming(photographs, state), "--check")) == [2]
    (line,) = printed(tmp_path / "run").splitlines()
    assert re.search(r"path\.resume_state: .*net_g_3\.pth: no such file of weights", line)
    assert not (tmp_path / "run/experiments").exists()


def test_ignored_network_starts_anew_and_is_saved(whole, photographs, tmp_path):
    """Its file may be missing, and the entry of the weights that it starts from is the stated one."""
    former = killed_after(whole, tmp_path / "former", 3)
    start_file = former / "start.pth"
    shutil.move(former / "experiments/tiny/models/net_g_3.pth", start_file)
    opt = resuming(
        photographs,
        former / "experiments/tiny/training_states/3.state",
        ignore_resume_networks=["network_g"],
        pretrain_network_g=str(start_file),
        param_key_g="params_ema",
    )
    opt["name"], opt["train"]["total_iter"] = "other", 5
    assert finish(start(tmp_path / "run", opt)) == [0], printed(tmp_path / "run")
    assert f"from {start_file}: averaged weights (params_ema)." in printed(tmp_path / "run")
    end = end_of(tmp_path / "run", "other")
    assert end["iter"] == 5
    assert [source["file"] for source in end["started_from"]] == ["start.pth"]


def test_resumed_network_is_read_by_its_own_entry(whole, photographs, tmp_path):
    former = killed_after(whole, tmp_path / "former", 3)
    weights = tmp_path / "weights.pth"
    torch.save({"theirs": load(former, "models/net_g_3.pth")["params"]}, weights)
    opt = resuming(
        photographs,
        former / "experiments/tiny/training_states/3.state",
        pretrain_network_g=str(weights),
        param_key_g="theirs",
    )
    assert finish(start(former, opt)) == [0], printed(former)
    assert_identical(load(former, END)["params"], load(whole, END)["params"])


def test_state_of_another_network_is_refused_in_one_line(whole, photographs):
    opt = options(photographs)
    opt["network_g"]["hidden_dim"] = 7
    state = torch.load(whole / "experiments/tiny/training_states/3.state", weights_only=False)
    with pytest.raises(ValueError, match=r"path\.resume_state: its optimiser was of another network"):
        model_of(opt).resume_training(state)


def test_copy_of_the_toolboxs_script_resumes_exactly(whole, photographs, tmp_path):
    project = shutil.copytree(killed_after(whole, tmp_path / "former", 3), tmp_path / "project_of_tiny")
    script = own_script(tmp_path)
    shutil.move(project / "experiments", tmp_path / "experiments")
    run = tmp_path / "run"
    assert finish(start(run, options(photographs), "--auto_resume", prepare=partial(run_script, script))) == [
        0
    ]
    assert "will differ" not in printed(run)
    assert_identical(load(tmp_path, END), load(whole, END))


def test_changed_script_warns_in_one_line(whole, photographs, tmp_path):
    former = killed_after(whole, tmp_path / "former", 3)
    script = own_script(
        tmp_path, lambda text: text.replace("logger.info('Training statistics:'", "logger.info('Data:'")
    )
    opt = resuming(photographs, former / "experiments/tiny/training_states/3.state")
    run = tmp_path / "run"
    assert finish(start(run, opt, prepare=partial(run_script, script))) == [0], printed(run)
    warnings = [line for line in printed(run).splitlines() if "WARNING: The resumed training" in line]
    (line,) = warnings
    assert "this script orders the samples by itself and starts the epoch again; train by moeisr" in line
    end = load(tmp_path, END)
    assert end["iter"] == 12
    assert end["params"].keys() == load(whole, END)["params"].keys()
    state = load(tmp_path, "training_states/12.state")
    assert "consumed" not in state


def test_random_states_that_were_moved_to_a_gpu_are_restored(monkeypatch):
    """The toolbox's script loads a state onto the GPU; generators take bytes of the CPU."""
    moved = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: moved.append(self) or self)
    state = random_states.random_state([])
    random_states.set_random_state(state, [])
    assert {id(tensor) for tensor in moved} == {id(state["torch"]), id(state["numpy"]["state"]["key"])}
