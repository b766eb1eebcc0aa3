"""Training options for speed and memory, on tiny networks."""

import math
import shutil
from functools import partial

import pytest
import torch
from basicsr.archs import build_network
from basicsr.models import build_model
from tiny_trainings import loader, options, train

from moeisr_plugin.archs import routing
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.models.acceleration import accelerate

pytestmark = pytest.mark.slow

DECODERS = ("LIIF", "LTE", "MoEISRLIIF", "MoEISRLTE")


def with_decoder(opt, decoder):
    opt["network_g"]["type"] = decoder
    if not decoder.startswith("MoEISR"):
        opt["train"]["balance_opt"] = None
    return opt


def batch(samples):
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.rand, generator=generator)
    return {
        "lq": draw(samples, 3, 12, 12),
        "gt": draw(samples, 80, 3),
        "coord": draw(samples, 80, 2) * 2 - 1,
        "cell": draw(samples, 2) * 0.1 + 0.05,
    }


def step(model, data, current_iter=1):
    model.feed_data(data)
    model.update_learning_rate(current_iter, model.opt["train"].get("warmup_iter", -1))
    model.optimize_parameters(current_iter)
    return model.get_current_log()


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@pytest.fixture
def without_noise(monkeypatch):
    monkeypatch.setattr(routing, "gumbel_gates", lambda scores, *, tau: torch.softmax(scores / tau, dim=1))


@pytest.mark.usefixtures("without_noise")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_accumulated_gradient_equals_that_of_the_batch(reduction, photographs, tmp_path):
    gradients, logs = [], []
    for accumulate in (1, 3, 5):
        opt = options(photographs, tmp_path, accumulate=accumulate)
        opt["train"]["pixel_opt"] = {"type": "L1Loss", "loss_weight": 1.0, "reduction": reduction}
        # As large as the pixel loss, and not a sum over samples.
        opt["train"]["balance_opt"] = {"type": "BalanceLoss", "loss_weight": 1.0, "reduction": reduction}
        torch.manual_seed(0)
        model = build_model(opt)
        log = step(model, batch(5))
        gradients.append(flat(p.grad for p in model.net_g.parameters()))
        logs.append([log["l_pix"], log["l_balance"]])
    for gradient, log in zip(gradients[1:], logs[1:], strict=True):
        assert log == pytest.approx(logs[0], rel=1e-5)
        assert (gradient - gradients[0]).norm() < 1e-5 * gradients[0].norm()


def test_more_parts_than_samples_are_refused(photographs, tmp_path):
    model = build_model(options(photographs, tmp_path, accumulate=3))
    with pytest.raises(
        ValueError, match=r"train\.accumulate is 3 for batches of 2; give 1 to the batch size"
    ):
        step(model, batch(2))


@pytest.mark.parametrize("decoder", DECODERS)
def test_trains_and_validates_in_bfloat16(decoder, photographs, tmp_path):
    logs = []
    for precision in ("float32", "bfloat16"):
        opt = with_decoder(options(photographs, tmp_path, precision=precision), decoder)
        model, log = train(opt, 2)
        logs.append([losses["l_pix"] for losses in log])
    assert logs[0] != logs[1]
    assert logs[1] == pytest.approx(logs[0], rel=0.02)
    assert all(p.dtype == torch.float32 for p in model.net_g.parameters())
    model.validation(loader(opt, "val_1"), 1, None, save_img=False)
    assert 5 < model.metric_results["psnr"] < 60


def test_resume_restores_the_scale_of_float16(photographs, tmp_path):
    opt = options(photographs, tmp_path, precision="float16")
    model, logs = train(opt, 3)
    assert logs[-1]["l_pix"] < 6000
    model.save(epoch=0, current_iter=3)
    again = build_model(options(photographs, tmp_path, precision="float16"))
    again.resume_training(torch.load(tmp_path / "3.state", weights_only=True))
    kept = [m.optimizer_g.state_dict()["training_step"] for m in (model, again)]
    assert kept[0] == kept[1]
    assert kept[0]["scaler"]["_growth_tracker"] + kept[0]["skipped_steps"] == 3


def test_bad_loss_prevents_saving_except_at_the_end(photographs, tmp_path):
    opt = options(photographs, tmp_path, max_bad_steps=2)
    torch.manual_seed(0)
    model = build_model(opt)
    step(model, batch(2))
    model.save(epoch=0, current_iter=1)
    before, average = flat(model.net_g.parameters()), flat(model.net_g_ema.parameters())
    broken = batch(2)
    broken["gt"][1, 3] = float("nan")
    log = step(model, broken, 2)
    assert log["skipped_steps"] == 1
    assert math.isnan(log["l_pix"])
    model.save(epoch=0, current_iter=2)
    with pytest.raises(ValueError, match="2 steps in a row"):
        step(model, broken, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.state", "net_g_1.pth"]
    model.save(epoch=-1, current_iter=-1)
    assert model.ended
    assert torch.equal(flat(model.net_g.parameters()), before)
    assert torch.equal(flat(model.net_g_ema.parameters()), average)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.state", "net_g_1.pth", "net_g_latest.pth"]
    assert torch.equal(flat(network_from(tmp_path / "net_g_latest.pth").parameters()), average)


@pytest.mark.parametrize(
    ("scheduler", "rate"),
    [
        ({"type": "MultiStepLR", "milestones": [5], "gamma": 0.5}, lambda i: 1 if i < 5 else 0.5),
        ({"type": "CosineAnnealingLR", "T_max": 8}, lambda i: (1 + math.cos(math.pi * i / 8)) / 2),
        (
            {"type": "CosineAnnealingRestartLR", "periods": [8], "eta_min": 0},
            lambda i: (1 + math.cos(math.pi * i / 8)) / 2,
        ),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else "",
)
def test_schedule_ignores_the_rates_of_the_warm_up(scheduler, rate, photographs, tmp_path):
    opt = options(photographs, tmp_path, scheduler=scheduler, optim_g={"type": "AdamW", "lr": 1e-3})
    model = build_model(opt)
    assert isinstance(model.optimizer_g, torch.optim.AdamW)
    rates = []
    for current_iter in range(1, 9):
        model.optimizer_g.step()
        model.update_learning_rate(current_iter, warmup_iter=4)
        rates.append(model.get_current_learning_rate()[0])
    expected = [1e-3 * (i / 4 if i < 4 else rate(i - 1)) for i in range(1, 9)]
    assert rates == pytest.approx(expected)


def test_channels_last_changes_only_the_memory_format(photographs, tmp_path):
    models, logs = zip(
        *(train(options(photographs, tmp_path, channels_last=on), 2) for on in (False, True)), strict=True
    )
    weight = models[1].net_g.encoder.head[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert logs[1][1]["l_pix"] == pytest.approx(logs[0][1]["l_pix"], rel=1e-3)


@pytest.mark.usefixtures("without_noise")
def test_compiled_training_has_the_same_losses_and_keys_and_resumes(photographs, tmp_path, monkeypatch):
    # The eager backend captures one graph without generating machine code, which takes minutes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    models, logs = [], []
    for compiled in (False, True):
        torch.manual_seed(0)
        models.append(
            build_model(with_decoder(options(photographs, tmp_path, compile=compiled), "MoEISRLTE"))
        )
        logs.append([step(models[-1], batch(2), i)["l_pix"] for i in (1, 2)])
    assert logs[1] == pytest.approx(logs[0], rel=1e-3)
    models[1].save(epoch=0, current_iter=2)
    assert network_from(tmp_path / "net_g_2.pth").state_dict().keys() == models[0].net_g.state_dict().keys()
    opt = with_decoder(options(photographs, tmp_path), "MoEISRLTE")
    opt["path"].update(pretrain_network_g=str(tmp_path / "net_g_2.pth"), param_key_g="params")
    again = build_model(opt)
    again.resume_training(torch.load(tmp_path / "2.state", weights_only=True))
    log, expected = (step(model, batch(2), 3) for model in (again, models[1]))
    assert log["l_pix"] == pytest.approx(expected["l_pix"], rel=1e-3)
    models[1].validation(loader(opt, "val_1"), 1, None, save_img=False)
    assert models[1].metric_results["psnr"] > 5


@pytest.mark.usefixtures("without_noise")
def test_compiled_random_routing_has_the_same_losses(photographs, tmp_path, monkeypatch):
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, mode: compile_(call, backend="aot_eager"))
    decaying = {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.1}
    logs = []
    for compiled in (False, True, "reduce-overhead"):  # the last mode uses gates instead of groups
        torch.manual_seed(0)
        opt = options(photographs, tmp_path, compile=compiled, random_gates_iter=2, optim_g=decaying)
        opt["network_g"].update(expert_depths=[2, 3], mapper_depth=1)  # little to compile
        model = build_model(opt)
        first = flat(model.net_g.mapper.parameters())
        logs.append([step(model, batch(2), i)["l_pix"] for i in (1, 2)])
        assert torch.equal(flat(model.net_g.mapper.parameters()), first)
        logs[-1].append(step(model, batch(2), 3)["l_pix"])
        assert not torch.equal(flat(model.net_g.mapper.parameters()), first)
    assert logs[1] == pytest.approx(logs[0], rel=1e-3)
    assert logs[2] == pytest.approx(logs[0], rel=1e-3)


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler")
def test_machine_code_gives_the_same_gradient():
    opt = {"type": "LIIF", "encoder": {"type": "EDSREncoder", "num_feat": 4, "num_block": 1}, "hidden_dim": 8}
    opt.update(depth=2, local_ensemble=False, unfold=False)  # little to compile
    net = build_network(opt).train()
    data = batch(2)
    gradients = []
    for compiled in (False, True):
        accelerate(net, compiled=compiled)
        net.zero_grad()
        net(data["lq"], data["coord"], data["cell"]).rgb.square().sum().backward()
        gradients.append(flat(p.grad for p in net.parameters()))
    torch.testing.assert_close(*gradients)


def test_unknown_compile_mode_is_refused(photographs, tmp_path):
    with pytest.raises(ValueError, match=r"train\.compile is 'fast'; give true, false or default, reduce"):
        build_model(options(photographs, tmp_path, compile="fast"))


@pytest.mark.parametrize(("allow", "precision"), [(True, "high"), (False, "highest")])
def test_tf32_is_set_for_products_and_convolutions(allow, precision, photographs, tmp_path):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        build_model(options(photographs, tmp_path, tf32=allow))
        assert torch.get_float32_matmul_precision() == precision
        assert torch.backends.cudnn.allow_tf32 == allow
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def test_logs_samples_per_second_and_waiting_time(photographs, tmp_path):
    model = build_model(options(photographs, tmp_path))
    logs = [step(model, batch(2), i) for i in (1, 2, 3, 4)]
    assert ["samples_per_s" in log for log in logs] == [False, True, False, True]
    assert logs[3]["samples_per_s"] > 0
    assert 0 <= logs[3]["data_wait"] < 1
