"""An interrupted and resumed training gives exactly the result of an uninterrupted one."""

import copy
import math
import os
import random
import shutil
import signal
import time
import zipfile

import numpy as np
import pytest
import torch
from processes import path_of_a_killed_writer
from trainings import (
    archived,
    assert_identical,
    assert_same_end,
    finish,
    killed_after,
    load,
    model_of,
    options,
    printed,
    start,
    wait_until,
)

from moeisr_plugin.checkpoints.network import CheckpointError
from moeisr_plugin.models.interruption import Interruption
from moeisr_plugin.models.random_state import random_state, set_random_state

pytestmark = pytest.mark.slow


def iteration(folder):
    """Return the newest saved iteration."""
    states = folder / "experiments/tiny/training_states"
    return max((int(path.stem) for path in states.glob("[0-9]*.state")), default=0)


def flip_a_bit(path):
    """Damage a tensor in a way that torch does not detect."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        record = max(archive.infolist(), key=lambda info: info.file_size if "/data/" in info.filename else 0)
        content[content.index(archive.read(record))] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def whole(photographs, tmp_path_factory):
    """Folder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole")
    assert finish(start(folder, options(photographs))) == [0], printed(folder)
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_within_an_epoch_is_exact(workers, whole, photographs, tmp_path):
    folder = killed_after(whole, tmp_path / "run", 3)
    opt = options(photographs)
    opt["datasets"]["train"]["num_worker_per_gpu"] = workers
    assert finish(start(folder, opt, "--auto_resume")) == [0], printed(folder)
    assert "iter: 3." in printed(folder)
    assert_same_end(folder, whole)
    kept = load(folder, "training_states/12.state")
    assert set(kept["best_metric_results"]) == {"photographs/x2", "photographs/x3.7"}
    assert kept["best_metric_results"]["photographs/x2"]["psnr"]["val"] > 5


def test_damaged_files_are_named_and_skipped(whole, photographs, tmp_path):
    folder = killed_after(whole, tmp_path / "run", 3, 6, 9, 12)
    experiment = folder / "experiments/tiny"
    state = experiment / "training_states/12.state"
    state.write_bytes(state.read_bytes()[:500])
    flip_a_bit(experiment / "models/net_g_9.pth")
    (experiment / "models/net_g_6.pth").unlink()
    partial = path_of_a_killed_writer(experiment / "models")
    partial.touch()
    assert finish(start(folder, options(photographs), "--auto_resume")) == [0], printed(folder)
    output = printed(folder)
    assert "training_states/12.state: not a readable checkpoint" in output
    assert "models/net_g_9.pth: not a readable checkpoint (record archive/data/" in output
    assert "models/net_g_6.pth: no such file of weights; trying an earlier training state" in output
    assert "iter: 3." in output
    assert not partial.exists()
    assert_same_end(folder, whole)


def test_training_does_not_restart_without_a_usable_state(whole, photographs, tmp_path):
    folder = killed_after(whole, tmp_path / "run", 3)
    (folder / "experiments/tiny/training_states/3.state").write_bytes(b"nothing of use")
    assert finish(start(folder, options(photographs), "--auto_resume")) == [2]
    assert "none of its 1 training states can be used; remove --auto_resume to start again" in printed(folder)
    assert archived(folder) == []
    assert not (folder / "experiments/tiny/models/net_g_latest.pth").exists()


def test_resuming_a_finished_training_changes_nothing(whole, photographs, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.name != "options.yml"}
    assert finish(start(folder, options(photographs), "--auto_resume")) == [0]
    assert "training has finished at iteration 12; raise train.total_iter to continue" in printed(folder)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert archived(folder) == []


def test_finished_training_continues_with_more_iterations(whole, photographs, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    assert finish(start(folder, options(photographs, total_iter=14), "--auto_resume")) == [0], printed(folder)
    assert load(folder, "models/net_g_latest.pth")["iter"] == 14


def test_training_without_intermediate_checkpoints_continues_from_its_end(photographs, tmp_path):
    opt = options(photographs, total_iter=5)
    opt["logger"]["save_checkpoint_freq"] = 1000
    assert finish(start(tmp_path, opt, "--auto_resume")) == [0], printed(tmp_path)
    opt["train"]["total_iter"] = 7
    assert finish(start(tmp_path, opt, "--auto_resume")) == [0], printed(tmp_path)
    assert "iter: 5." in printed(tmp_path)
    assert archived(tmp_path) == []
    at_once = options(photographs, total_iter=7)
    assert finish(start(tmp_path / "at_once", at_once)) == [0], printed(tmp_path / "at_once")
    end = "models/net_g_latest.pth"
    assert_identical(load(tmp_path, end), load(tmp_path / "at_once", end))


def test_schedule_can_be_extended(photographs, tmp_path):
    def cosine(*periods):
        schedule = {
            "type": "CosineAnnealingRestartLR",
            "periods": list(periods),
            "restart_weights": [1] * len(periods),
        }
        return options(photographs, scheduler=schedule, total_iter=sum(periods), warmup_iter=-1)

    assert finish(start(tmp_path, cosine(3), "--auto_resume")) == [0], printed(tmp_path)
    opt = cosine(3, 6)
    assert finish(start(tmp_path, opt, "--auto_resume")) == [0], printed(tmp_path)
    assert printed(tmp_path).count("train.scheduler.periods has changed since the last save") == 1
    assert load(tmp_path, "models/net_g_latest.pth")["iter"] == 9
    sixth = load(tmp_path, "training_states/6.state")  # two steps into the second period
    rate = 1e-3 * (1 + math.cos(math.pi * 2 / 6)) / 2
    assert sixth["optimizers"][0]["param_groups"][0]["lr"] == pytest.approx(rate)
    assert sixth["schedulers"][0]["periods"] == [3, 6]


SCHEDULES = [
    {"type": "MultiStepLR", "milestones": [2, 5], "gamma": 0.5},
    {"type": "CosineAnnealingLR", "T_max": 8},
    {"type": "CosineAnnealingRestartLR", "periods": [8], "eta_min": 2e-4},
    {"type": "ExponentialLR", "gamma": 0.9},
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule["type"])
def test_resume_uses_the_learning_rate_of_the_option_file(schedule, photographs, tmp_path):
    """The rates equal those of a training that had this learning rate from the start."""

    def rates(first, second):
        opt = options(photographs, scheduler=schedule, total_iter=8, warmup_iter=-1)
        state, found = None, []
        for rate, iterations in ((first, range(1, 4)), (second, range(4, 7))):
            opt["train"]["optim_g"] = {"type": "Adam", "lr": rate, "weight_decay": rate}
            model = model_of(opt, training_states=tmp_path, models=tmp_path)
            if state is not None:
                model.resume_training(state)
            for iteration in iterations:
                model.optimizer_g.step()  # has no gradients; avoids a warning of torch
                model.update_learning_rate(iteration)
                found.append(model.get_current_learning_rate()[0])
            model.save_training_state(0, iterations[-1])
            state = torch.load(tmp_path / f"{iterations[-1]}.state", weights_only=False)
        assert model.optimizer_g.param_groups[0]["weight_decay"] == second
        return found

    assert rates(1e-3, 1e-5)[3:] == pytest.approx(rates(1e-5, 1e-5)[3:], rel=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule["type"])
def test_rates_of_parts_hold_in_every_iteration_and_after_resume(schedule, photographs, tmp_path):
    """Each group has the rate of a training without groups, times its factor, also within the warm-up."""

    def rates(factors, *, resume):
        opt = options(photographs, scheduler=schedule, total_iter=8, warmup_iter=3)
        opt["train"]["optim_g"] = {"type": "Adam", "lr": 1e-3, "rates": factors}
        model = model_of(opt, training_states=tmp_path, models=tmp_path)
        found = []
        for iteration in range(1, 8):
            model.optimizer_g.step()
            model.update_learning_rate(iteration)
            found.append(model.get_current_learning_rate())
            if iteration in resume:
                model.save_training_state(0, iteration)
                state = torch.load(tmp_path / f"{iteration}.state", weights_only=False)
                model = model_of(opt, training_states=tmp_path, models=tmp_path)
                model.resume_training(state)
        return found

    expected = [lr for (lr,) in rates(None, resume=())]
    for resume in ((), (2, 5)):
        found = rates({"encoder": 0.1, "mapper": 3}, resume=resume)
        for lrs, lr in zip(found, expected, strict=True):
            assert lrs == pytest.approx([lr, 0.1 * lr, 3 * lr], rel=1e-6)


def test_other_parts_with_rates_are_refused(photographs, tmp_path):
    models = []
    for factors in ({"encoder": 0.1}, {"mapper": 0.1}, {"encoder": 0.2}):
        opt = options(photographs)
        opt["train"]["optim_g"]["rates"] = factors
        models.append(model_of(opt, training_states=tmp_path, models=tmp_path))
    models[0].save_training_state(0, 3)
    state = torch.load(tmp_path / "3.state", weights_only=False)
    with pytest.raises(
        ValueError, match=r"rates: is for \['mapper'\], but the training state has \['encoder'\];"
    ):
        models[1].resume_training(copy.deepcopy(state))
    models[2].resume_training(state)  # another factor is allowed
    models[2].optimizer_g.step()
    models[2].update_learning_rate(4)
    rest, encoder = models[2].get_current_learning_rate()
    assert encoder == pytest.approx(0.2 * rest)


def test_cyclic_schedule_is_resumed(photographs, tmp_path):
    schedule = {
        "type": "CyclicLR",
        "base_lr": 1e-5,
        "max_lr": 1e-3,
        "step_size_up": 3,
        "cycle_momentum": False,
    }
    for total in (3, 6):
        opt = options(photographs, scheduler=schedule, total_iter=total, warmup_iter=-1)
        assert finish(start(tmp_path, opt, "--auto_resume")) == [0], printed(tmp_path)
    assert load(tmp_path, "models/net_g_latest.pth")["iter"] == 6
    rate = load(tmp_path, "training_states/6.state")["optimizers"][0]["param_groups"][0]["lr"]
    assert rate == pytest.approx(1e-5 + (1e-3 - 1e-5) / 3)


@pytest.mark.parametrize(
    ("key", "changed", "message"),
    [
        (
            "optim_g",
            {"type": "SGD", "lr": 1e-3},
            "train.optim_g.type: is SGD, but the training state is of Adam",
        ),
        (
            "scheduler",
            {"type": "StepLR", "step_size": 2},
            "train.scheduler.type: is StepLR, but the training",
        ),
    ],
)
def test_another_optimiser_or_schedule_is_refused(key, changed, message, photographs, tmp_path):
    models = [
        model_of(options(photographs, **change), training_states=tmp_path, models=tmp_path)
        for change in ({}, {key: changed})
    ]
    models[0].save_training_state(0, 3)
    state = torch.load(tmp_path / "3.state", weights_only=False)
    with pytest.raises(ValueError, match=message):
        models[1].resume_training(state)
    del state["kinds"]  # like a state of the toolbox
    models[0].resume_training(state)


def test_missed_validation_is_run_on_resume(whole, photographs, tmp_path):
    folder = killed_after(whole, tmp_path / "run", 6)
    assert load(folder, "training_states/6.state")["best_metric_results"] == {}
    assert finish(start(folder, options(photographs), "--auto_resume")) == [0], printed(folder)
    assert printed(folder).count("@ 6 iter") == 2
    assert_same_end(folder, whole)


def test_run_without_a_checkpoint_is_not_archived(photographs, tmp_path):
    experiment = tmp_path / "experiments/tiny"
    experiment.mkdir(parents=True)
    (experiment / "train_tiny.log").write_text("killed before the first checkpoint")
    opt = options(photographs, total_iter=1, warmup_iter=1)
    assert finish(start(tmp_path, opt, "--auto_resume")) == [0], printed(tmp_path)
    assert archived(tmp_path) == []
    assert load(tmp_path, "models/net_g_latest.pth")["iter"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_all_processes_ends_the_training_with_one_checkpoint(number, photographs, tmp_path):
    opt = options(photographs, total_iter=100_000)
    opt["datasets"]["train"]["num_worker_per_gpu"] = 1
    opt["logger"]["save_checkpoint_freq"] = 100_000
    training = start(tmp_path / "run", opt)
    wait_until(lambda: "iter:       2" in printed(tmp_path / "run"))
    os.killpg(training.pid or 0, number)
    assert finish(training) == [0], printed(tmp_path / "run")
    (state,) = (tmp_path / "run/experiments/tiny/training_states").iterdir()
    ended = int(state.stem)
    message = f"Ended by {number.name}: iteration {ended} is saved; run the same command with --auto_resume"
    assert printed(tmp_path / "run").count(message) == 1
    assert load(tmp_path / "run", f"models/net_g_{ended}.pth")["iter"] == ended
    if number is signal.SIGTERM:
        opt["train"]["total_iter"] = ended + 3
        processes = [start(tmp_path / "run", opt, "--auto_resume"), start(tmp_path / "uninterrupted", opt)]
        assert finish(*processes) == [0, 0], printed(tmp_path / "run")
        end, uninterrupted = (
            load(tmp_path / run, "models/net_g_latest.pth") for run in ("run", "uninterrupted")
        )
        assert_identical(end, uninterrupted)


def test_second_signal_has_the_default_action():
    interruption = Interruption()
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    interruption.install_handlers()
    try:
        assert interruption.signal_name is None
        signal.raise_signal(signal.SIGINT)
        assert interruption.signal_name == "SIGINT"
        assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        interruption.restore_handlers()
    assert handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_random_numbers_continue(tmp_path):
    def draw():
        return [random.random(), random.gauss(0, 1), np.random.normal(), torch.rand(3).tolist()]

    draw()  # the generators keep the second of a pair of normal numbers for the next call
    torch.save(random_state([]), tmp_path / "random")
    expected = [draw(), draw()]
    set_random_state(torch.load(tmp_path / "random", weights_only=True), [])
    assert [draw(), draw()] == expected


def test_failed_saving_is_reported_with_one_line(photographs, tmp_path):
    opt = options(photographs, total_iter=3)
    opt["path"]["pretrain_network_g"] = None
    (tmp_path / "full").write_text("no folder")
    model = model_of(opt, models=tmp_path, training_states=tmp_path / "full")
    with pytest.raises(
        CheckpointError, match=r"full/1\.state: cannot be saved \(Not a directory\)"
    ) as caught:
        model.save_training_state(0, 1)
    assert "\n" not in str(caught.value)


def test_training_killed_at_random_moments_resumes_exactly(photographs, tmp_path):
    """MOEISR_KILLS is the number of kills, each at a random moment of an iteration or a checkpoint."""
    kills = int(os.environ.get("MOEISR_KILLS", "3"))
    moments = random.Random(kills)
    opt = options(photographs, total_iter=10 + 4 * kills)
    opt["datasets"]["train"]["num_worker_per_gpu"] = 1
    opt["logger"]["save_checkpoint_freq"] = 1
    opt["val"]["val_freq"] = 5
    uninterrupted = start(tmp_path / "uninterrupted", opt)
    run = tmp_path / "run"
    for _ in range(kills):
        training = start(run, opt, "--auto_resume")
        first, more = iteration(run), moments.randrange(1, 5)
        wait_until(lambda: iteration(run) >= first + more)  # noqa: B023  only called here
        time.sleep(moments.uniform(0, 0.2))
        training.kill()
        assert finish(training) == [-signal.SIGKILL], printed(run)
    assert finish(uninterrupted, start(run, opt, "--auto_resume")) == [0, 0], printed(run)
    assert printed(run).count("Resuming training from epoch") == kills
    assert "not a readable" not in printed(run)
    assert archived(run) == []
    for name in ("models/net_g_latest.pth", f"training_states/{opt['train']['total_iter']}.state"):
        assert_identical(load(run, name), load(tmp_path / "uninterrupted", name))
