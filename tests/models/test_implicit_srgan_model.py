"""Adversarial training: the steps of both networks, their schedule, and exact resume."""

import copy

import pytest
import torch
import trainings
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.models import build_model
from tiny_trainings import loader
from tiny_trainings import options as tiny_options
from trainings import assert_identical, finish, killed_after, load, printed, start, start_ranks

from moeisr_plugin.archs import routing
from moeisr_plugin.checkpoints.network import network_from

ADVERSARIAL = {
    "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.5},
    "optim_d": {"type": "SGD", "lr": 0.01},
}
DISCRIMINATOR = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}


def adversarial(opt, **train):
    opt = copy.deepcopy(opt)
    opt |= {"model_type": "ImplicitSRGANModel", "network_d": DISCRIMINATOR}
    opt["datasets"]["train"] |= {"sample_q": "all", "hr_size": 8}
    opt["train"] |= {**ADVERSARIAL, **train}
    return opt


@pytest.fixture
def without_noise(monkeypatch):
    monkeypatch.setattr(routing, "gumbel_gates", lambda scores, *, tau: torch.softmax(scores / tau, dim=1))


@pytest.mark.usefixtures("without_noise")
def test_a_step_equals_that_of_the_equations(photographs, tmp_path):
    """The network learns to be taken for real by the discriminator, which then learns from both pictures."""
    opt = adversarial(tiny_options(photographs, tmp_path))
    opt["train"] |= {"optim_g": {"type": "SGD", "lr": 1e-4}, "balance_opt": None}
    torch.manual_seed(0)
    model = build_model(opt)
    net, net_d = copy.deepcopy(model.net_g), copy.deepcopy(model.net_d)
    batch = next(iter(loader(opt, "train")))
    model.feed_data(batch)
    model.optimize_parameters(1)
    log = model.get_current_log()

    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    rgb = net(batch["lq"], batch["coord"], batch["cell"]).rgb
    fake = rgb.transpose(1, 2).reshape(2, 3, 8, 8)
    verdict = net_d(fake)
    pixel = 6000 * (fake - batch["gt"]).abs().mean()
    loss = 0.5 * cross_entropy(verdict, torch.ones_like(verdict))
    (pixel + loss).backward()
    assert log["l_g_gan"] == pytest.approx(loss.item(), rel=1e-5)
    net_d.zero_grad()
    of_real, of_fake = net_d(batch["gt"]), net_d(fake.detach())
    real = cross_entropy(of_real, torch.ones_like(of_real))
    false = cross_entropy(of_fake, torch.zeros_like(of_fake))
    (real + false).backward()
    expected = {
        "l_d_real": real,
        "l_d_fake": false,
        "out_d_real": of_real.mean(),
        "out_d_fake": of_fake.mean(),
    }
    assert {name: log[name] for name in expected} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-4
    )
    for own, plain, rate in ((model.net_g, net, 1e-4), (model.net_d, net_d, 0.01)):
        for mine, parameter in zip(own.parameters(), plain.parameters(), strict=True):
            step = rate * (parameter.grad if parameter.grad is not None else torch.zeros_like(parameter))
            torch.testing.assert_close(mine, parameter - step, rtol=1e-4, atol=1e-6)
    assert all(parameter.requires_grad for parameter in model.net_d.parameters())


def test_the_network_learns_as_often_as_stated(photographs, tmp_path):
    opt = adversarial(tiny_options(photographs, tmp_path), net_d_iters=2, net_d_init_iters=2)
    torch.manual_seed(0)
    model, batches = build_model(opt), loader(opt, "train")
    moved = []
    for current_iter in range(1, 7):
        before = [copy.deepcopy(net.state_dict()) for net in (model.net_g, model.net_d, model.net_g_ema)]
        model.feed_data(next(iter(batches)))
        model.optimize_parameters(current_iter)
        after = [net.state_dict() for net in (model.net_g, model.net_d, model.net_g_ema)]
        moved.append(
            [any(not torch.equal(a[k], b[k]) for k in a) for a, b in zip(before, after, strict=True)]
        )
        assert ("l_g_gan" in model.get_current_log()) is moved[-1][0]
        assert "l_d_fake" in model.get_current_log()
    assert [net for net, _, _ in moved] == [False, False, False, True, False, True]
    assert [average for _, _, average in moved] == [False, False, False, True, False, True]
    assert all(discriminator for _, discriminator, _ in moved)


def test_accumulating_gives_the_same_step(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(routing, "gumbel_gates", lambda scores, *, tau: torch.softmax(scores / tau, dim=1))
    logs = []
    for accumulate in (1, 2):
        opt = adversarial(tiny_options(photographs, tmp_path), accumulate=accumulate)
        # Spectral normalisation iterates in every forward pass, so that parts see other weights.
        opt["network_d"] = {"type": "ImplicitDiscriminatorOfTests"}
        torch.manual_seed(0)
        model = build_model(opt)
        model.feed_data(next(iter(loader(opt, "train"))))
        model.optimize_parameters(1)
        log = model.get_current_log()
        logs.append([log[name] for name in ("l_g_gan", "l_d_real", "l_d_fake", "out_d_fake")])
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)


@pytest.fixture(autouse=True)
def plain_discriminator():
    """A discriminator without state, registered for a test."""
    from basicsr.utils.registry import ARCH_REGISTRY

    class ImplicitDiscriminatorOfTests(torch.nn.Conv2d):
        def __init__(self):
            super().__init__(3, 1, 3)

    ARCH_REGISTRY._obj_map["ImplicitDiscriminatorOfTests"] = ImplicitDiscriminatorOfTests
    yield
    del ARCH_REGISTRY._obj_map["ImplicitDiscriminatorOfTests"]


def test_checkpoints_hold_both_networks(photographs, tmp_path):
    opt = adversarial(tiny_options(photographs, tmp_path))
    model = build_model(opt)
    model.save(epoch=0, current_iter=1)
    network_from(tmp_path / "net_g_1.pth")
    saved = torch.load(tmp_path / "net_d_1.pth", weights_only=True)
    assert saved["iter"] == 1
    assert saved.keys() == {"params", "iter"}
    build_network(DISCRIMINATOR).load_state_dict(saved["params"])
    state = torch.load(tmp_path / "1.state", weights_only=False)
    assert len(state["optimizers"]) == len(state["schedulers"]) == 2
    assert state["kinds"]["optim_g"] == ["Adam", "SGD"]


def test_a_state_without_a_discriminator_is_refused(photographs, tmp_path):
    build_model(tiny_options(photographs, tmp_path)).save(epoch=0, current_iter=1)
    state = torch.load(tmp_path / "1.state", weights_only=False)
    with pytest.raises(ValueError, match=r"model_type: trains 2 networks, but the training state is of 1;"):
        build_model(adversarial(tiny_options(photographs, tmp_path))).resume_training(state)


def test_another_optimiser_of_the_discriminator_is_refused(photographs, tmp_path):
    opt = adversarial(tiny_options(photographs, tmp_path))
    build_model(opt).save(epoch=0, current_iter=1)
    state = torch.load(tmp_path / "1.state", weights_only=False)
    opt["train"]["optim_d"] = {"type": "Adam", "lr": 0.01}
    with pytest.raises(ValueError, match=r"train\.optim_d\.type: is Adam, but the training state is of SGD"):
        build_model(opt).resume_training(state)


def test_bad_losses_of_the_discriminator_prevent_saving(photographs, tmp_path):
    opt = adversarial(tiny_options(photographs, tmp_path))
    model = build_model(opt)
    model.feed_data(next(iter(loader(opt, "train"))))
    model.gt[0, 0, 0, 0] = float("nan")
    before = copy.deepcopy(model.net_d.state_dict()["conv0.weight"])
    model.optimize_parameters(2)
    assert torch.equal(model.net_d.state_dict()["conv0.weight"], before)
    model.save(epoch=0, current_iter=2)
    assert not list(tmp_path.glob("*.state"))


def test_losses_of_the_toolbox_are_used_unchanged():
    loss = build_loss(ADVERSARIAL["gan_opt"])
    assert type(loss).__module__ == "basicsr.losses.gan_loss"


@pytest.mark.slow
def test_resume_is_exact_with_the_discriminator(photographs, tmp_path):
    opt = adversarial(
        trainings.options(photographs), net_d_init_iters=2, optim_d={"type": "Adam", "lr": 1e-3}
    )
    whole = tmp_path / "whole"
    assert finish(start(whole, opt)) == [0], printed(whole)
    folder = killed_after(whole, tmp_path / "run", 3)
    shown = whole / "experiments/tiny/models/net_d_3.pth"
    (folder / "experiments/tiny/models/net_d_3.pth").write_bytes(shown.read_bytes())
    assert finish(start(folder, opt, "--auto_resume")) == [0], printed(folder)
    assert "iter: 3." in printed(folder)
    for name in ("models/net_g_latest.pth", "models/net_d_latest.pth", "training_states/12.state"):
        assert_identical(load(folder, name), load(whole, name))
    assert finish(start(folder, opt, "--auto_resume")) == [0]
    assert "training has finished at iteration 12" in printed(folder)


@pytest.mark.slow
def test_two_processes_train_with_a_discriminator(photographs, tmp_path):
    opt = adversarial(trainings.options(photographs, total_iter=3, warmup_iter=-1), net_d_iters=2)
    opt["datasets"]["train"]["batch_size_per_gpu"] = 1
    del opt["val"], opt["datasets"]["val_1"], opt["datasets"]["val_2"]
    assert finish(*start_ranks(tmp_path, opt)) == [0, 0], printed(tmp_path)
    assert load(tmp_path, "models/net_d_latest.pth")["iter"] == 3
