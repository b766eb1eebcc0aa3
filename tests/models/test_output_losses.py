"""Losses of whole patches in a training."""

import types
from functools import partial
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from basicsr.archs import vgg_arch
from basicsr.models import build_model
from basicsr.utils.registry import LOSS_REGISTRY
from tiny_trainings import options, train
from torch import nn

from moeisr_plugin.archs import routing
from moeisr_plugin.models.output_losses import OutputLosses

PERCEPTUAL = {"type": "PerceptualLoss", "layer_weights": {"conv1_1": 0.5, "relu2_1": 2}, "vgg_type": "vgg11"}


def whole(photographs, root, **train_options):
    opt = options(photographs, root, **train_options)
    opt["datasets"]["train"] |= {"sample_q": "all", "hr_size": 11}
    return opt


@pytest.fixture
def without_noise(monkeypatch):
    monkeypatch.setattr(routing, "gumbel_gates", lambda scores, *, tau: torch.softmax(scores / tau, dim=1))


@pytest.fixture
def vgg(monkeypatch):
    """A VGG with random weights, in place of the downloaded one."""
    torch.manual_seed(0)
    network: Any = torchvision.models.vgg11(weights=None)
    features = network.features[:5]
    monkeypatch.setattr(vgg_arch.vgg, "vgg11", lambda pretrained: types.SimpleNamespace(features=features))
    return features


def batch(samples, side):
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.rand, generator=generator)
    return {
        "lq": draw(samples, 3, 12, 12),
        "gt": draw(samples, 3, side, side),
        "coord": draw(samples, side * side, 2) * 2 - 1,
        "cell": draw(samples, 2) * 0.1 + 0.05,
    }


def step(model, data):
    model.feed_data(data)
    model.update_learning_rate(1, -1)
    model.optimize_parameters(1)
    return model.get_current_log()


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@pytest.mark.usefixtures("without_noise")
def test_losses_of_pictures_equal_their_definitions(photographs, tmp_path, vgg):
    opt = whole(
        photographs,
        tmp_path,
        perceptual_opt={**PERCEPTUAL, "use_input_norm": False},
        tv_opt={"type": "WeightedTVLoss", "loss_weight": 0.25},
        frequency_opt={"type": "FrequencyLoss", "loss_weight": 3.0},
    )
    torch.manual_seed(0)
    model, data = build_model(opt), batch(2, 11)
    colours = model.net_g(data["lq"], data["coord"], data["cell"]).rgb.detach()  # (2, 121, 3)
    log = step(model, data)
    picture = torch.stack([colours[:, :, channel].view(2, 11, 11) for channel in range(3)], dim=1)
    gt = data["gt"]
    assert log["l_pix"] == pytest.approx(6000 * (picture - gt).abs().mean().item(), rel=1e-5)
    down, across = picture.diff(dim=2).abs().mean(), picture.diff(dim=3).abs().mean()
    assert log["l_tv"] == pytest.approx(0.25 * (down + across).item(), rel=1e-5)
    spectrum = torch.fft.rfft2(picture - gt, norm="ortho")
    parts = (spectrum.real.abs().mean() + spectrum.imag.abs().mean()) / 2
    assert log["l_freq"] == pytest.approx(3 * parts.item(), rel=1e-4)
    with torch.no_grad():
        first = (vgg[:1](picture) - vgg[:1](gt)).abs().mean()
        second = (vgg[:5](picture) - vgg[:5](gt)).abs().mean()
    assert log["l_percep"] == pytest.approx((0.5 * first + 2 * second).item(), rel=1e-4)
    assert "l_style" not in log


@pytest.mark.usefixtures("without_noise")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_accumulated_gradient_equals_that_of_the_batch(reduction, photographs, tmp_path):
    gradients, logs = [], []
    for accumulate in (1, 3):
        kind = {"loss_weight": 1.0, "reduction": reduction}
        opt = whole(
            photographs,
            tmp_path,
            accumulate=accumulate,
            tv_opt={"type": "WeightedTVLoss", **kind},
            frequency_opt={"type": "FrequencyLoss", **kind},
        )
        opt["train"]["pixel_opt"] = {"type": "L1Loss", **kind}
        torch.manual_seed(0)
        model = build_model(opt)
        log = step(model, batch(4, 7))
        gradients.append(flat(p.grad for p in model.net_g.parameters()))
        logs.append([log[name] for name in ("l_pix", "l_tv", "l_freq")])
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)
    assert (gradients[1] - gradients[0]).norm() < 1e-5 * gradients[0].norm()


def test_whole_patches_train_from_the_data_set(photographs, tmp_path):
    opt = whole(photographs, tmp_path, distillation_opt={"type": "L1Loss", "teacher": "deepest"})
    del opt["datasets"]["train"]["hr_size"]
    _, logs = train(opt, 20)
    losses = [log["l_pix"] for log in logs]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert logs[0]["l_distill"] > 0


@pytest.mark.parametrize(
    "loss", [{"tv_opt": {"type": "WeightedTVLoss"}}, {"frequency_opt": {"type": "FrequencyLoss"}}]
)
def test_losses_of_pictures_refuse_single_pixels(loss, photographs, tmp_path):
    (key,) = loss
    with pytest.raises(
        ValueError, match=rf"train\.{key}: needs whole patches; set datasets\.train\.sample_q"
    ):
        train(options(photographs, tmp_path, **loss), 1)


def test_missing_weights_of_vgg_are_one_line(photographs, tmp_path, monkeypatch):
    def fail(pretrained):
        raise URLError("Name or service not known")

    monkeypatch.setattr(vgg_arch.vgg, "vgg11", fail)
    with pytest.raises(ValueError, match=r"train\.perceptual_opt: the weights of vgg11 cannot be") as caught:
        build_model(whole(photographs, tmp_path, perceptual_opt=PERCEPTUAL))
    assert "checkpoints" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_without_a_reduction_is_a_mean(photographs, tmp_path):
    class SquareOfTests(nn.Module):
        def forward(self, prediction, target):
            return ((prediction - target) ** 2).mean()

    LOSS_REGISTRY._obj_map["SquareOfTests"] = SquareOfTests
    try:
        opt = options(photographs, tmp_path)
        opt["train"]["pixel_opt"] = {"type": "SquareOfTests"}
        _, (log,) = train(opt, 1)
    finally:
        del LOSS_REGISTRY._obj_map["SquareOfTests"]
    assert log["l_pix"] > 0


def test_without_losses_of_pictures_single_pixels_pass():
    OutputLosses({}, pixel=None, perceptual=None).check_targets(torch.zeros(1, 5, 3))
