"""Distillation, compared with plain computations by the reference equations."""

import copy

import pytest
import torch
from basicsr.archs import build_network
from basicsr.models import build_model
from references import Reference, lively
from tiny_trainings import loader, options, train
from torch.nn import functional as F

from moeisr_plugin.archs import routing
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.models.batches import Batch
from moeisr_plugin.models.distillation import build_teacher

pytestmark = pytest.mark.slow

ENCODER = {"type": "EDSREncoder", "num_feat": 8, "num_block": 1}
LOSS = {"type": "L1Loss", "loss_weight": 0.7, "reduction": "mean"}
CPU = torch.device("cpu")


def write(path, net):
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return str(path)


def everywhere_deepest(net, batch):
    """Return the outputs of the deepest expert for a batch, by the reference in float64."""

    def gate(scores):
        gates = torch.zeros_like(scores)
        gates[:, -1] = 1
        return gates

    with torch.no_grad():
        return Reference(net)(*(batch[key].double() for key in ("lq", "coord", "cell")), gate=gate)


def step(opt, *, prepare=lambda net: None):
    """Take one step. Return the network before it, the batch, the log and the gradients."""
    torch.manual_seed(0)
    model = build_model(opt)
    lively(model.net_g)
    prepare(model.net_g)
    before, batch = copy.deepcopy(model.net_g), next(iter(loader(opt, "train")))
    model.feed_data(batch)
    model.optimize_parameters(1)
    gradients = {name: parameter.grad for name, parameter in model.net_g.named_parameters()}
    return before, batch, model.get_current_log(), gradients


@pytest.mark.parametrize("kind", ["MoEISRLIIF", "MoEISRLTE"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_deepest_expert_teaches_as_computed(kind, accumulate, photographs, tmp_path, monkeypatch):
    choice = torch.arange(2 * 12 * 12).view(2, 12, 12) % 3
    parts = list(choice.tensor_split(accumulate))
    monkeypatch.setattr(routing, "random_choice", lambda maps, among: parts.pop(0))
    opt = options(photographs, tmp_path, random_gates_iter=1, accumulate=accumulate)
    opt["network_g"].update(type=kind, expert_depths=[2, 3, 4])
    opt["train"]["pixel_opt"] = {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}
    opt["train"]["distillation_opt"] = {**LOSS, "teacher": "deepest"}
    net, batch, log, gradients = step(opt)
    target = everywhere_deepest(net, batch)
    gates = F.one_hot(choice, 3).movedim(-1, 1).double()
    reference = Reference(net)
    rgb = reference(*(batch[key].double() for key in ("lq", "coord", "cell")), gate=lambda scores: gates)
    to_hr, to_teacher = ((rgb - other).abs().mean() for other in (batch["gt"].double(), target))
    assert log["l_pix"] == pytest.approx(to_hr.item(), rel=1e-5)
    assert log["l_distill"] == pytest.approx(0.7 * to_teacher.item(), rel=1e-5)
    (to_hr + 0.7 * to_teacher).backward()
    for name, parameter in reference.net.named_parameters():
        if not name.startswith("mapper"):
            expected = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            assert (gradients[name] - expected).norm() <= 1e-4 * expected.norm() + 1e-7, name


@pytest.mark.parametrize("frozen", [False, True])
def test_weights_of_a_file_teach(frozen, photographs, tmp_path):
    """The teacher is an LTE of another width; its encoder is not that of the student."""
    net = lively(build_network({"type": "LTE", "encoder": ENCODER, "hidden_dim": 12, "depth": 3}), seed=3)
    opt = options(photographs, tmp_path, random_gates_iter=1)
    opt["train"]["freeze"] = ["encoder"] if frozen else []
    opt["train"]["distillation_opt"] = {**LOSS, "teacher": write(tmp_path / "teacher.pth", net)}
    student, batch, log, _ = step(opt)
    target = everywhere_deepest(net, batch)
    torch.manual_seed(0)
    again = build_model(opt)
    again.net_g.load_state_dict(student.state_dict())
    assert log["l_distill"] > 0.01
    assert not any(parameter.requires_grad for parameter in again.distillation.teacher.net.parameters())
    part = Batch(batch["lq"], batch["coord"], batch["cell"], batch["gt"])
    torch.testing.assert_close(again.distillation.teacher(part, []).double(), target, atol=1e-5, rtol=1e-5)


def test_frozen_encoder_is_shared_only_with_an_equal_one(tmp_path):
    network = {"type": "MoEISRLIIF", "encoder": ENCODER, "hidden_dim": 6}
    student = lively(build_network(network))
    path = write(tmp_path / "teacher.pth", student)
    assert not build_teacher(path, student, device=CPU).shares_latent  # the encoder of the student learns
    student.encoder.requires_grad_(False)
    student.to(memory_format=torch.channels_last)
    assert build_teacher(path, student, device=CPU).shares_latent
    assert build_teacher(path, student, device=CPU).net is not student
    scaled = build_network({**network, "encoder": {**ENCODER, "res_scale": 0.5}})
    scaled.load_state_dict(student.state_dict())
    assert not build_teacher(write(tmp_path / "scaled.pth", scaled), student, device=CPU).shares_latent
    with torch.no_grad():
        student.encoder.head[0].bias[0] += 1e-3
    assert not build_teacher(path, student, device=CPU).shares_latent


def test_shared_and_own_latents_give_the_same_losses(photographs, tmp_path):
    """The network of the file is that of the student, so its deepest expert is too."""
    logs = []
    for teacher in ("deepest", str(tmp_path / "start.pth")):
        opt = options(photographs, tmp_path, random_gates_iter=3, freeze=["encoder", "experts.3"])
        opt["path"]["pretrain_network_g"] = str(tmp_path / "start.pth")
        opt["train"]["distillation_opt"] = {**LOSS, "teacher": teacher}
        write(tmp_path / "start.pth", lively(build_network(opt["network_g"])))
        logs.append(train(opt, 3)[1])
    assert logs[0] == logs[1]
    assert logs[0][0]["l_distill"] > 0


@pytest.mark.parametrize("teacher", ["deepest", "start.pth"])
def test_equal_frozen_encoders_encode_once(teacher, photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opt = options(photographs, tmp_path, random_gates_iter=1, freeze=["encoder"])
    opt["path"]["pretrain_network_g"] = "start.pth"
    opt["train"]["distillation_opt"] = {**LOSS, "teacher": teacher}
    write("start.pth", lively(build_network(opt["network_g"])))
    model, calls = build_model(opt), []
    for net in {model.net_g, model.distillation.teacher.net}:
        net.encoder.register_forward_hook(lambda *_: calls.append(1))
    model.feed_data(next(iter(loader(opt, "train"))))
    model.optimize_parameters(1)
    assert len(calls) == 1


def test_mapper_alone_learns_from_hr(photographs, tmp_path):
    opt = options(photographs, tmp_path, random_gates_iter=1, mapper_alone_iter=1, total_iter=3)
    opt["train"]["distillation_opt"] = {**LOSS, "teacher": "deepest"}
    _, logs = train(opt, 3)
    assert ["l_distill" in log for log in logs] == [True, True, False]


def test_one_expert_has_no_deeper_one(photographs, tmp_path):
    opt = options(photographs, tmp_path)
    opt["network_g"]["type"] = "LIIF"
    opt["train"]["balance_opt"] = None
    opt["train"]["distillation_opt"] = {**LOSS, "teacher": "deepest"}
    with pytest.raises(ValueError, match=r"teacher: is deepest, but the network has one expert; give a file"):
        build_model(opt)


@pytest.mark.parametrize("teacher", ["deepest", "CiaoSR"])
def test_decoders_with_refined_latents_teach_as_computed(teacher, photographs, tmp_path):
    opt = options(photographs, tmp_path, freeze=["encoder"])
    opt["network_g"] |= {"type": "MoEISRCiaoSR", "hidden_dim": 6, "expert_depths": [2, 3]}
    net = lively(build_network(opt["network_g"]))
    if teacher != "deepest":
        net = lively(build_network({"type": "CiaoSR", "encoder": ENCODER, "hidden_dim": 5}))
        teacher = write(tmp_path / "teacher.pth", net)
    opt["train"]["distillation_opt"] = {**LOSS, "teacher": teacher}
    model, batch = build_model(opt), next(iter(loader(opt, "train")))
    model.net_g.load_state_dict(net.state_dict() if teacher == "deepest" else model.net_g.state_dict())
    lq, coord, cell = (batch[key] for key in ("lq", "coord", "cell"))
    choice = torch.full_like(lq[:, 0], net.num_experts - 1, dtype=torch.long)
    with torch.no_grad():
        expected = net(lq, coord, cell, choice=choice).rgb
        latent = model.net_g.encoder((lq - 0.5) / 0.5)
    part = Batch(lq, coord, cell, batch["gt"])
    for latents in ([], [latent]) if model.distillation.teacher.shares_latent else ([],):
        torch.testing.assert_close(model.distillation.teacher(part, latents), expected)
    model.feed_data(batch)
    model.optimize_parameters(1)
    assert model.get_current_log()["l_distill"] > 0
