"""Optimiser steps: precision, clipping, and skipping of Inf and NaN."""

import io

import pytest
import torch
from torch import nn

from moeisr_plugin.models.training_step import TrainingStep, TrainingStoppedError

CPU = torch.device("cpu")


def layer():
    torch.manual_seed(0)
    return nn.Linear(6, 4)


def step_of(net, **options):
    return TrainingStep(torch.optim.Adam(net.parameters(), lr=0.1), CPU, **options)


def take_step(step, net, x, *, factor=1.0):
    """Take a step that reduces the outputs of the layer."""
    step.optimiser.zero_grad()
    with step.autocast():
        loss = net(x).float().abs().mean() * factor
    step.backward(loss)
    return step.take([loss])


def weights(net):
    return [parameter.detach().clone() for parameter in net.parameters()]


def gradients(net):
    grads = [parameter.grad for parameter in net.parameters()]
    assert all(grad.dtype == torch.float32 for grad in grads)
    return torch.cat([grad.flatten() for grad in grads])


def unchanged(net, before):
    return all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


def test_float32_equals_the_plain_step():
    ours, theirs = layer(), layer()
    step, plain = step_of(ours), torch.optim.Adam(theirs.parameters(), lr=0.1)
    for seed in range(3):
        x = torch.rand(5, 6, generator=torch.Generator().manual_seed(seed))
        assert take_step(step, ours, x)
        plain.zero_grad()
        theirs(x).abs().mean().backward()
        plain.step()
    assert unchanged(ours, weights(theirs))
    assert step.log()["skipped_steps"] == 0


@pytest.mark.parametrize(("limit", "norm"), [(1e-3, 1e-3), (1e6, None)])
def test_clips_the_norm_of_all_gradients_together(limit, norm):
    net, free = layer(), layer()
    step = step_of(net, clip_grad_norm=limit)
    take_step(step, net, torch.ones(5, 6))
    take_step(step_of(free), free, torch.ones(5, 6))
    found, unclipped = gradients(net).norm(), gradients(free).norm()
    assert step.log()["grad_norm"] == pytest.approx(unclipped.item())
    assert found.item() == pytest.approx(norm or unclipped.item(), rel=1e-3)


def test_bfloat16_keeps_parameters_in_float32():
    net = layer()
    step = step_of(net, precision="bfloat16")
    with step.autocast():
        assert net(torch.ones(5, 6)).dtype == torch.bfloat16
    assert take_step(step, net, torch.ones(5, 6))
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())
    assert gradients(net).any()


def test_float16_scales_small_gradients():
    net, precise = layer(), layer()
    step = step_of(net, precision="float16")
    assert take_step(step, net, torch.ones(5, 6), factor=1e-7)
    take_step(step_of(precise), precise, torch.ones(5, 6), factor=1e-7)
    assert gradients(precise).abs().max() < torch.finfo(torch.float16).smallest_normal
    torch.testing.assert_close(gradients(net), gradients(precise), rtol=0.02, atol=1e-12)


def test_float16_halves_the_scale_until_gradients_are_finite():
    net = layer()
    step = step_of(net, precision="float16")
    before = weights(net)
    assert not take_step(step, net, torch.ones(5, 6), factor=100.0)
    assert unchanged(net, before)
    assert step.loss_is_finite
    taken = [take_step(step, net, torch.ones(5, 6), factor=100.0) for _ in range(16)]
    assert taken[-1]
    assert taken == sorted(taken)
    assert step.log()["skipped_steps"] == 1 + taken.count(False)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_bad_loss_skips_the_step(number):
    net = layer()
    step = step_of(net)
    take_step(step, net, torch.ones(5, 6))
    before, exp_avg = weights(net), step.optimiser.state_dict()["state"][0]["exp_avg"].clone()
    assert not take_step(step, net, torch.ones(5, 6), factor=number)
    assert not step.loss_is_finite
    assert unchanged(net, before)
    assert torch.equal(step.optimiser.state_dict()["state"][0]["exp_avg"], exp_avg)
    assert take_step(step, net, torch.ones(5, 6))
    assert step.loss_is_finite
    assert (step.skipped_steps, step.bad_steps) == (1, 0)


def test_bad_gradient_skips_the_step():
    parameter = nn.Parameter(torch.tensor([0.0, 1.0]))
    step = TrainingStep(torch.optim.SGD([parameter], lr=0.1), CPU)
    loss = parameter.sqrt().sum()
    step.backward(loss)
    assert loss.isfinite()
    assert not step.take([loss])
    assert step.loss_is_finite
    assert parameter.tolist() == [0, 1]


def test_stops_after_max_bad_steps():
    net = layer()
    step = step_of(net, max_bad_steps=3)
    before = weights(net)
    for _ in range(2):
        take_step(step, net, torch.ones(5, 6), factor=float("nan"))
    take_step(step, net, torch.zeros(5, 6), factor=0.0)
    for _ in range(2):
        take_step(step, net, torch.ones(5, 6), factor=float("nan"))
    with pytest.raises(TrainingStoppedError, match=r"3 steps in a row \(train\.max_bad_steps\)") as caught:
        take_step(step, net, torch.ones(5, 6), factor=float("nan"))
    assert "\n" not in str(caught.value)
    assert unchanged(net, before)
    assert step.skipped_steps == 5


def test_state_dict_of_the_optimiser_has_counters_and_scale():
    net = layer()
    step = step_of(net, precision="float16")
    for factor in (100.0, 100.0, 1.0):
        take_step(step, net, torch.ones(5, 6), factor=factor)
    file = io.BytesIO()
    torch.save(step.optimiser.state_dict(), file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)

    again = step_of(net, precision="float16")
    again.optimiser.load_state_dict(saved)
    assert again.log()["skipped_steps"] == step.log()["skipped_steps"] > 0
    assert again.optimiser.state_dict()["training_step"] == saved["training_step"]
    assert saved["training_step"]["scaler"]["scale"] < 65536

    in_float32 = step_of(net)
    in_float32.optimiser.load_state_dict(saved)
    assert take_step(in_float32, net, torch.ones(5, 6))
    plain = torch.optim.Adam(net.parameters())
    again.optimiser.load_state_dict(plain.state_dict())  # has no entry of ours


def rank(index, store, results):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=index, world_size=results.shape[0]
    )
    parameter = nn.Parameter(torch.zeros(2))
    step = TrainingStep(torch.optim.SGD([parameter], lr=1.0), CPU)
    for iteration in range(3):
        parameter.grad = torch.ones(2)
        is_bad = (index, iteration) == (1, 1)
        results[index, iteration] = step.take([torch.tensor(float("nan") if is_bad else 1.0)])
    results[index, 3] = parameter.detach()[0]
    torch.distributed.destroy_process_group()


def test_bad_step_in_one_process_is_skipped_in_all(tmp_path):
    results = torch.full((2, 4), -1.0).share_memory_()
    context = torch.multiprocessing.get_context("fork")
    processes = [context.Process(target=rank, args=(i, tmp_path / "store", results)) for i in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert results.tolist() == [[1, 0, 1, -2]] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp16"}, r"train\.precision is 'fp16'; give float32, bfloat16, float16"),
        ({"clip_grad_norm": 0}, r"train\.clip_grad_norm is 0; give a number above 0, or none"),
        ({"max_bad_steps": 0}, r"train\.max_bad_steps is 0; give 1 or more"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        step_of(layer(), **options)
