"""Optimisers and schedules of torch by name, and the errors of unsuitable ones."""

import copy
import math
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn

from moeisr_plugin.models import optimisers
from moeisr_plugin.models.optimisers import apply_rates, build_optimiser, build_scheduler, parameter_groups


def parameters():
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (4,))]


def descend(optimiser, weights, steps=3):
    for _ in range(steps):
        optimiser.zero_grad()
        torch.cat([weight.flatten() for weight in weights]).square().sum().backward()
        optimiser.step()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adam", {"lr": 1e-2, "betas": [0.9, 0.99], "weight_decay": 0}),
        ("AdamW", {"lr": 1e-2, "weight_decay": 0.1, "fused": True}),
        ("SGD", {"lr": 1e-2, "momentum": 0.9, "nesterov": True}),
        ("RAdam", {"lr": 1e-2, "decoupled_weight_decay": True}),
        ("RMSprop", {"lr": 1e-2}),
    ],
)
def test_optimiser_equals_that_of_torch(name, options):
    ours, theirs = parameters(), parameters()
    descend(build_optimiser(name, ours, **options), ours)
    descend(getattr(torch.optim, name)(theirs, **options), theirs)
    for a, b, start in zip(ours, theirs, parameters(), strict=True):
        torch.testing.assert_close(a, b)
        assert (a != start).any()


@pytest.mark.parametrize(
    ("name", "options", "fused"),
    [
        ("AdamW", {}, True),
        ("AdamW", {"fused": False}, False),
        ("AdamW", {"foreach": True}, None),
        ("RMSprop", {}, None),
    ],
)
def test_fused_is_the_default_only_on_cuda(name, options, fused, monkeypatch):
    received: dict = {}
    monkeypatch.setattr(
        optimisers, "_instantiate", lambda *given, key: received.update(given[-1]) or MagicMock()
    )
    for is_cuda in (True, False):
        received.clear()
        parameters: list[Any] = [SimpleNamespace(is_cuda=is_cuda)]
        build_optimiser(name, parameters, lr=1e-3, **options)
        assert received.get("fused") == (fused if is_cuda else options.get("fused"))


@pytest.mark.parametrize("saved", [{}, {"foreach": True}, {"fused": True}])
def test_loading_a_state_keeps_the_implementation(saved):
    theirs, ours = parameters(), parameters()
    before = build_optimiser("Adam", theirs, lr=1e-2, **saved)
    descend(before, theirs)
    optimiser = build_optimiser("Adam", ours, lr=1e-2, fused=True)
    optimiser.load_state_dict(copy.deepcopy(before.state_dict()))
    assert optimiser.param_groups[0]["fused"] is True
    assert not optimiser.param_groups[0]["foreach"]
    with torch.no_grad():
        for mine, saved_one in zip(ours, theirs, strict=True):
            mine.copy_(saved_one)
    descend(before, theirs)
    descend(optimiser, ours)
    for mine, saved_one in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, saved_one)


def test_loaded_state_has_the_strides_of_the_parameters():
    kernel = torch.nn.Parameter(torch.randn(4, 3, 3, 3))
    before = build_optimiser("Adam", [kernel], lr=1e-2)
    descend(before, [kernel])
    channels_last = torch.nn.Parameter(kernel.detach().contiguous(memory_format=torch.channels_last))
    optimiser = build_optimiser("Adam", [channels_last], lr=1e-2)
    optimiser.load_state_dict(copy.deepcopy(before.state_dict()))
    for key in ("exp_avg", "exp_avg_sq"):
        assert optimiser.state[channels_last][key].stride() == channels_last.stride() != kernel.stride()
        torch.testing.assert_close(optimiser.state[channels_last][key], before.state[kernel][key])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("AdmW", {}, r"train\.optim_g\.type: torch\.optim has no AdmW; did you mean AdamW\?"),
        ("Optimizer", {}, r"train\.optim_g\.type: torch\.optim has no Optimizer"),
        ("lr_scheduler", {}, r"train\.optim_g\.type: torch\.optim has no lr_scheduler"),
        ("LBFGS", {}, r"train\.optim_g\.type: LBFGS evaluates the loss several times"),
        ("AdamW", {"momentum": 0.9}, r"train\.optim_g\.momentum: AdamW takes no such option; lr, betas"),
        ("AdamW", {"lr": -1.0}, r"train\.optim_g: AdamW refuses its options: Invalid learning rate: -1"),
        ("AdamW", {"betas": [0.9]}, r"train\.optim_g: AdamW refuses its options"),
    ],
)
def test_unsuitable_optimisers_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_optimiser(name, parameters(), **{"lr": 1e-3, **options})
    assert "\n" not in str(caught.value)


def test_schedule_equals_that_of_torch():
    optimiser = build_optimiser("Adam", parameters(), lr=1.0)
    schedule = build_scheduler("CosineAnnealingLR", optimiser, T_max=10, eta_min=0.2)
    for iteration in range(11):
        expected = 0.2 + 0.8 * (1 + math.cos(math.pi * iteration / 10)) / 2
        assert optimiser.param_groups[0]["lr"] == pytest.approx(expected)
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CosineAnealingLR", {}, r"train\.scheduler\.type: .* has no .*; did you mean CosineAnnealingLR\?"),
        ("ReduceLROnPlateau", {}, r"train\.scheduler\.type: ReduceLROnPlateau waits for a metric"),
        ("LRScheduler", {}, r"train\.scheduler\.type: torch\.optim\.lr_scheduler has no LRScheduler"),
        ("CosineAnnealingLR", {"tmax": 3}, r"train\.scheduler\.tmax: .* takes no such option; T_max"),
        ("CosineAnnealingLR", {}, r"train\.scheduler: CosineAnnealingLR refuses its options: .*T_max"),
    ],
)
def test_unsuitable_schedules_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_scheduler(name, build_optimiser("Adam", parameters(), lr=1.0), **options)


def network():
    torch.manual_seed(0)
    experts = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3)])
    return experts, nn.ModuleDict({"encoder": nn.Linear(3, 4), "experts": experts})


@pytest.mark.parametrize("name", ["Adam", "SGD", "RMSprop", "Adagrad"])
def test_a_rate_scales_the_steps_of_its_part(name):
    """One step of each optimiser is proportional to the learning rate."""
    plain, scaled = network()[1], network()[1]
    begun = copy.deepcopy(plain.state_dict())
    for net, rates in ((plain, {}), (scaled, {"encoder": 0.1, "experts": 0.5, "experts.1": 2})):
        optimiser = build_optimiser(name, parameter_groups(net, rates), lr=1e-3)
        apply_rates(optimiser)
        torch.cat([weight.flatten() for weight in net.parameters()]).square().sum().backward()
        optimiser.step()
    factors = {"encoder": 0.1, "experts.0": 0.5, "experts.1": 2}
    for key, value in scaled.state_dict().items():
        factor = factors[key.rpartition(".")[0]]
        step = plain.state_dict()[key] - begun[key]
        assert step.abs().max() > 0
        torch.testing.assert_close(value - begun[key], factor * step, rtol=1e-3, atol=1e-7)


def test_frozen_parameters_are_in_no_group():
    experts, net = network()
    experts[0].requires_grad_(False)
    groups = parameter_groups(net, {"experts": 0.5})
    assert [(len(group["params"]), group["rate"]) for group in groups] == [(2, 1.0), (2, 0.5)]
    assert [parameter.shape for parameter in parameter_groups(net, {})] == [(4, 3), (4,), (3, 4), (3,)]
    everything = parameter_groups(net, {"encoder": 0.1, "experts": 0.5})
    assert [group["rate"] for group in everything] == [0.1, 0.5]


@pytest.mark.parametrize("prefix", ["encoders", "experts.2", "experts.0"])
def test_a_rate_without_learning_parameters_is_refused(prefix):
    experts, net = network()
    experts[0].requires_grad_(False)
    with pytest.raises(ValueError, match=f"no parameter that learns is below '{prefix}'; the network has"):
        parameter_groups(net, {prefix: 0.1})
