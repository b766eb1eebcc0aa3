"""Trainings on kept batches, compared with trainings that get the same batches again."""

import shutil

import pytest
import torch
import trainings
from basicsr.archs import build_network
from basicsr.models import build_model
from references import lively
from tiny_trainings import loader, options
from trainings import assert_identical, assert_same_end, finish, killed_after, load, printed, start

from moeisr_plugin.archs import routing
from moeisr_plugin.checkpoints.network import save_checkpoint

pytestmark = pytest.mark.slow

ENCODER = {"type": "EDSREncoder", "num_feat": 8, "num_block": 1}
REPLAYED = 3


def teacher_file(folder):
    net = lively(build_network({"type": "LIIF", "encoder": ENCODER, "hidden_dim": 12, "depth": 3}), seed=3)
    save_checkpoint(folder / "teacher.pth", {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return str(folder / "teacher.pth")


def model_with(photographs, tmp_path, *, teacher, frozen=(), **train):
    distillation = {"type": "L1Loss", "loss_weight": 5000.0, "reduction": "mean", "teacher": teacher}
    opt = options(photographs, tmp_path, freeze=["encoder", *frozen], distillation_opt=distillation, **train)
    torch.manual_seed(0)
    model = build_model(opt)
    lively(model.net_g, seed=1)
    return model, opt


def batches_of(opt, number):
    batches = loader(opt, "train")
    return [next(iter(batches)) for _ in range(number)]


def order(laps, seed=0):
    """The positions of the batches: in order at first, then each lap by its own seed."""
    generators = (torch.Generator().manual_seed(seed + lap) for lap in range(1, laps))
    return [
        *range(REPLAYED),
        *(i for g in generators for i in torch.randperm(REPLAYED, generator=g).tolist()),
    ]


def learn(model, batches):
    """Take a step for each batch. Return the logs without durations."""
    logs = []
    for iteration, batch in enumerate(batches, 1):
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        log = model.get_current_log()
        logs.append({name: log[name] for name in log if name not in ("samples_per_s", "data_wait")})
    return logs


@pytest.mark.parametrize(("teacher", "frozen"), [("file", []), ("deepest", []), ("deepest", ["experts.3"])])
def test_it_learns_as_from_the_same_batches_again(teacher, frozen, photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(routing, "gumbel_gates", lambda scores, **_: scores.softmax(dim=1))
    given = {"frozen": frozen, "teacher": teacher_file(tmp_path) if teacher == "file" else teacher}
    phases = {"random_gates_iter": 0, "mapper_alone_iter": 2, "total_iter": 9}
    model, opt = model_with(photographs, tmp_path, replay_batches=REPLAYED, **given, **phases)
    plain, _ = model_with(photographs, tmp_path, **given, **phases)
    batches = batches_of(opt, 9)
    assert not torch.equal(batches[0]["lq"], batches[3]["lq"])
    logs = learn(model, batches)
    expected = learn(plain, [batches[i] for i in order(3)])
    assert order(3)[3:6] != order(3)[:3]
    for log, wanted in zip(logs, expected, strict=True):
        assert log == pytest.approx(wanted, rel=1e-5)
    for name, value in plain.net_g.state_dict().items():
        torch.testing.assert_close(model.net_g.state_dict()[name], value, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("teacher", "frozen", "decoded"),
    [("file", [], REPLAYED), ("deepest", ["experts.3"], REPLAYED), ("deepest", [], 8)],
)
def test_frozen_parts_run_once_for_each_batch(teacher, frozen, decoded, photographs, tmp_path):
    given = {"frozen": frozen, "teacher": teacher_file(tmp_path) if teacher == "file" else teacher}
    model, opt = model_with(
        photographs, tmp_path, replay_batches=REPLAYED, random_gates_iter=8, total_iter=8, **given
    )
    encoded, taught = [], []
    model.net_g.encoder.head[0].register_forward_hook(lambda *_: encoded.append(1))
    decode = model.distillation.teacher.net.decode
    model.distillation.teacher.net.decode = lambda *given: taught.append(1) or decode(*given)
    learn(model, batches_of(opt, 8))
    assert (len(encoded), len(taught)) == (REPLAYED, decoded)


def test_batches_that_do_not_fit_into_memory_are_refused_at_the_first(photographs, tmp_path, monkeypatch):
    train = {"replay_batches": 1000, "random_gates_iter": 8, "total_iter": 2000}
    model, opt = model_with(photographs, tmp_path, teacher="deepest", **train)
    latent, rest = 2 * 8 * 12 * 12, 2 * 3 * 12 * 12 + 2 * 80 * 2 + 2 * 2 + 2 * 80 * 3
    each = 4 * (latent + rest)
    monkeypatch.setattr("moeisr_plugin.models.replay.available_memory", lambda: 400 * each + 1)
    with pytest.raises(ValueError, match=r"^train\.replay_batches: 1000 batches of .*; at most 400 fit$"):
        learn(model, batches_of(opt, 1))
    assert len(model.replay) == 0


def replayed(photographs):
    return trainings.options(
        photographs,
        freeze=["encoder", "experts.1"],
        random_gates_iter=7,
        mapper_alone_iter=3,
        replay_batches=5,
        distillation_opt={"type": "L1Loss", "loss_weight": 0.5, "reduction": "mean", "teacher": "deepest"},
    )


def test_resumed_training_ends_bit_for_bit_the_same(photographs, tmp_path):
    whole = tmp_path / "whole"
    assert finish(start(whole, replayed(photographs))) == [0], printed(whole)
    kept = "experiments/tiny/training_states/replay_0.pth"
    assert len(load(whole, "training_states/replay_0.pth")["kept"]) == 5
    for iteration in (3, 6):
        folder = killed_after(whole, tmp_path / f"after_{iteration}", iteration)
        shutil.copy(whole / kept, folder / kept)
        assert finish(start(folder, replayed(photographs), "--auto_resume")) == [0], printed(folder)
        assert_same_end(folder, whole)
        assert_identical(
            load(folder, "training_states/replay_0.pth"), load(whole, "training_states/replay_0.pth")
        )


def test_resuming_without_its_batches_is_refused_in_one_line(photographs, tmp_path):
    whole = tmp_path / "whole"
    assert finish(start(whole, replayed(photographs))) == [0], printed(whole)
    missing = killed_after(whole, tmp_path / "missing", 6)
    assert finish(start(missing, replayed(photographs), "--auto_resume")) == [2]
    assert "replay_0.pth" in printed(missing).strip().splitlines()[-1]
    assert "start again without --auto_resume" in printed(missing)
    changed = killed_after(whole, tmp_path / "changed", 6)
    kept = "experiments/tiny/training_states/replay_0.pth"
    shutil.copy(whole / kept, changed / kept)
    opt = replayed(photographs)
    opt["train"]["replay_batches"] = 4
    assert finish(start(changed, opt, "--auto_resume")) == [2]
    assert "train.replay_batches: is 4, but " in printed(changed)
    assert "replay_0.pth has 5; set it back" in printed(changed)
