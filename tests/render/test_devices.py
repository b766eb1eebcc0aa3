"""Tensors follow the device of the inputs, and the host does not wait for a GPU. Uses a simulated GPU."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pretend_gpu import GPU, from_gpu, pretend_gpu
from references import TINY_ENCODER, lively, picture, queries

from moeisr_plugin import render
from moeisr_plugin.archs import routing
from moeisr_plugin.archs.encoders.rdn_encoder_arch import RDNEncoder
from moeisr_plugin.archs.encoders.swinir_encoder_arch import SwinIREncoder
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.evaluation.evaluate import evaluate
from moeisr_plugin.evaluation.measuring import timed
from moeisr_plugin.losses.balance_loss import BalanceLoss
from moeisr_plugin.losses.cost_loss import CostLoss
from moeisr_plugin.models.training_step import TrainingStep
from moeisr_plugin.render.casting import to_precision
from moeisr_plugin.upscaler import Upscaler

pytestmark = pytest.mark.slow

NETWORKS = {
    "LIIF": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "LTE": lambda: LTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "MoEISRLTE": lambda: MoEISRLTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
}
ENCODERS = {
    "RDN": lambda: RDNEncoder(num_feat=4, num_block=2, num_layer=2, num_grow_ch=4),
    "SwinIR": lambda: SwinIREncoder(embed_dim=12, depths=[2], num_heads=[2], window_size=4),
}
SIZE = (19, 31)


def test_the_simulated_gpu_refuses_mixed_devices_and_counts_waits():
    here = torch.arange(3.0)
    with pretend_gpu() as waits:
        there = torch.arange(3.0, device=GPU)
        doubled = there.add_(torch.ones(3, device=GPU)).view(1, 3) * 2 - torch.tensor(2)
        assert doubled.device == GPU
        assert not waits
        for mix in (lambda: there + here, lambda: here[there.long()], lambda: torch.cat([there, here])):
            with pytest.raises(AssertionError, match="tensors on two devices"):
                mix()
        for wait in (
            lambda: there.tolist(),
            lambda: there.sum().item(),
            lambda: there.cpu(),
            lambda: there.nonzero(),
            lambda: there[there > 1],
            lambda: torch.tensor([1.0], device=GPU),
            lambda: here.to(GPU),
            lambda: there.copy_(here),
        ):
            waits.clear()
            wait()
            assert waits.total() == 1
    assert from_gpu(doubled).tolist() == [[0, 2, 4]]
    with pytest.raises(AssertionError, match="outside"):
        there.add(1)


@pytest.mark.parametrize("band_queries", [1, 500, 10**9])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
@pytest.mark.parametrize("name", NETWORKS)
def test_rendering_on_a_gpu_matches_the_cpu(name, precision, tolerance, band_queries, monkeypatch):
    monkeypatch.setattr(
        "moeisr_plugin.render.engine._BAND_QUERIES", dict.fromkeys(("cpu", "cuda"), band_queries)
    )
    net, lr = lively(NETWORKS[name]()), picture(2, 5, 7).float()
    net = to_precision(net, precision)
    expected = render.render(net, render.encode(net, lr), SIZE)
    with pretend_gpu():
        net.to(GPU)
        rendered = render.render(net, render.encode(net, lr.to(GPU)), SIZE)
    torch.testing.assert_close(from_gpu(rendered), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NETWORKS)
def test_waits_do_not_increase_with_the_number_of_bands(name, monkeypatch):
    net, waited = lively(NETWORKS[name]()), {}
    with pretend_gpu() as waits:
        lr = picture(1, 24, 7).float().to(GPU)
        net.to(GPU)
        waits.clear()
        encoding = render.encode(net, lr)
        assert not waits
        for band_queries in (1, 500, 2500, 10**9):
            monkeypatch.setattr(
                "moeisr_plugin.render.engine._BAND_QUERIES", dict.fromkeys(("cpu", "cuda"), band_queries)
            )
            waits.clear()
            bands = len(list(render.render_bands(net, encoding, (60, 17))))
            waited[bands] = waits.total()
    assert len(waited) == 4
    assert len({waits for bands, waits in waited.items() if bands > 1}) == 1, waited
    assert max(waited.values()) <= 3, waited


@pytest.mark.parametrize("route", ["budget", "random", "one"])
def test_routing_on_a_gpu_matches_the_cpu(route):
    routes = {
        "budget": lambda net, encoding: render.within_budget(net, encoding, 0.4).scores,
        "random": lambda net, encoding: routing.shuffle_scores(
            encoding.scores, generator=torch.Generator().manual_seed(0)
        ),
        "one": lambda net, encoding: routing.use_everywhere(encoding.scores, 2),
    }
    net, lr = lively(NETWORKS["MoEISRLIIF"]()), picture(2, 5, 7).float()
    expected = routes[route](net, render.encode(net, lr))
    with pretend_gpu():
        net.to(GPU)
        scores = routes[route](net, render.encode(net, lr.to(GPU)))
    torch.testing.assert_close(from_gpu(scores), expected)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoding_on_a_gpu_matches_the_cpu(encoder):
    net, lr = LIIF(encoder=ENCODERS[encoder](), hidden_dim=6).eval(), picture(1, 9, 14).float()
    expected = render.encode(net, lr, tile=8).latent
    with pretend_gpu():
        latent = render.encode(net.to(GPU), lr.to(GPU), tile=8).latent
    torch.testing.assert_close(from_gpu(latent), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("precision", "high", "rounded"),
    [("float32", False, False), ("tf32", False, True), ("float32", True, True)],
)
def test_tf32_is_used_only_if_allowed(precision, high, rounded, monkeypatch):
    """By default, torch allows TF32 for convolutions."""

    def uses_tf32():
        products, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        if not hasattr(cudnn, "conv"):  # before torch 2.9
            return [products.allow_tf32, cudnn.allow_tf32]
        return [each.fp32_precision == "tf32" for each in (products, cudnn.conv)]

    net, seen = lively(NETWORKS["MoEISRLIIF"]()), []
    to_precision(net, precision)
    for part in (net.encoder, net.mapper):
        part.register_forward_pre_hook(lambda *_: seen.append(uses_tf32()))
    precompute = net.embedding.precompute
    monkeypatch.setattr(
        net.embedding, "precompute", lambda *given: seen.append(uses_tf32()) or precompute(*given)
    )
    torch_default, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, high
    try:
        before = uses_tf32()
        with pretend_gpu():
            net.to(GPU)
            encoding = render.encode(net, picture(1, 5, 7).float().to(GPU))
            between = [uses_tf32() for _ in render.render_bands(net, encoding, SIZE)]
        after = uses_tf32()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch_default
    assert seen == [[rounded, rounded]] * 3
    assert [before, *between, after] == [[high, True]] * 3


def test_new_tf32_settings_of_torch_are_kept(warm):
    """If they differ, reading the old settings raises for the rest of the process, so use another one."""
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("needs torch 2.9")
    code = (
        "import torch\n"
        "from pretend_gpu import GPU, pretend_gpu\n"
        "from moeisr_plugin.archs.implicit_arch import LIIF\n"
        "from moeisr_plugin.render.casting import float32_products\n"
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'\n"
        "net = LIIF(encoder={'type': 'EDSREncoder', 'num_feat': 4, 'num_block': 1}, hidden_dim=6)\n"
        "with pretend_gpu(), float32_products(net, torch.empty(1, device=GPU)):\n"
        "    print(torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision)\n"
    )
    done = warm.run("-c", code, first_path=str(Path(__file__).parents[1] / "helpers"))
    assert done.stdout.split() == ["tf32", "tf32"], done.stderr


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_upscaling_on_a_gpu_matches_the_cpu(precision):
    image = np.random.default_rng(0).integers(256, size=(9, 14, 4), dtype=np.uint8)
    expected = Upscaler(device="cpu", precision=precision)(image, scale=2.5)
    with pretend_gpu():
        upscaler = Upscaler(device=GPU, precision=precision)
        assert next(upscaler.net.parameters()).device == GPU
        enlarged = upscaler(image, scale=2.5)
    np.testing.assert_allclose(enlarged, expected, rtol=0, atol=1)


@pytest.mark.parametrize(("device", "times"), [(torch.device("cpu"), 3), (GPU, 4)])
def test_the_first_run_on_a_gpu_is_not_timed(device, times):
    """Timing synchronises before and after each run."""
    synchronisations = []
    with pretend_gpu() as waits:
        result, seconds = timed(
            lambda: synchronisations.append(waits["synchronize"]) or len(synchronisations), device, 3
        )
        assert waits["synchronize"] == (6 if device == GPU else 0)
    assert result == len(synchronisations) == times
    assert 0 <= seconds < 1
    assert synchronisations == ([0, 1, 3, 5] if device == GPU else [0, 0, 0])


def test_evaluation_on_a_gpu_matches_the_cpu(photographs, tmp_path):
    for path in photographs.iterdir():
        Image.open(path).crop((20, 10, 61, 47)).save(tmp_path / path.name)

    def measure(device):
        weights, scales = ["tiny_MoEISR_LIIF_s"], [(2.0, 2.0)]
        return evaluate(weights, tmp_path, scales, routing=True, budgets=2, device=device)

    expected = measure("cpu")
    with pretend_gpu() as waits:
        found = measure(GPU)
    assert found.device == str(GPU)
    assert waits["synchronize"] > 0
    for record, same in zip(found.records, expected.records, strict=True):
        figures, same_figures = (
            {name: figure for name, figure in each.figures.items() if not name.endswith("seconds")}
            for each in (record, same)
        )
        assert figures == pytest.approx(same_figures, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("assignment", ["by scores", "by gates", "by choice"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_waits_only_for_the_sizes_of_groups(name, assignment):
    net = lively(NETWORKS[name]()).train()
    inputs = [picture(2, 5, 7).float(), queries(2, 5, 7, 9).float(), torch.rand(2, 2)]
    gate = routing.random_gates if assignment == "by gates" else None
    everyone = range(len(net.experts))
    choice = routing.random_choice(inputs[0], everyone) if assignment == "by choice" else None

    def step(net, inputs, choice):
        torch.manual_seed(0)
        rgb, scores = net(*inputs, gate=gate, choice=choice)
        loss = rgb.square().mean() + BalanceLoss(reduction="mean")(scores) + CostLoss()(scores)
        loss.backward()
        return rgb, {name: p.grad for name, p in net.named_parameters() if p.grad is not None}

    twin = copy.deepcopy(net)
    expected, expected_gradients = step(net, inputs, choice)
    with pretend_gpu() as waits:
        twin.to(GPU)
        inputs = [each.to(GPU) for each in inputs]
        gpu_choice = None if choice is None else choice.to(GPU)
        waits.clear()
        rgb, found = step(twin, inputs, gpu_choice)
    torch.testing.assert_close(from_gpu(rgb), expected.detach(), rtol=1e-5, atol=1e-5)
    assert found.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(from_gpu(found[name]), gradient, rtol=1e-4, atol=1e-5)
    has_groups = assignment == "by choice" and net.num_experts > 1
    assert waits.total() == (2 if has_groups else 0)  # sizes for LR pixels and for queries


def test_a_training_step_reads_from_the_gpu_once():
    weight = torch.nn.Parameter(torch.ones(3))
    with pretend_gpu() as waits:
        there = torch.nn.Parameter(weight.detach().to(GPU))
        step = TrainingStep(torch.optim.SGD([there], lr=0.5), GPU)
        loss = (there * torch.arange(3, device=GPU)).sum()
        step.backward(loss)
        waits.clear()
        assert step.take([loss])
        assert waits.total() == 1
    assert from_gpu(there).tolist() == [1, 0.5, 0]
    assert step.grad_norm == pytest.approx(5**0.5)


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_on_a_gpu_matches_the_cpu(name):
    net = lively(NETWORKS[name]()).eval()
    inputs = [picture(2, 5, 7).float(), queries(2, 5, 7, 9).float(), torch.rand(2, 2)]
    expected = net(*inputs).rgb.detach()
    with pretend_gpu():
        rgb = net.to(GPU)(*(each.to(GPU) for each in inputs)).rgb
    torch.testing.assert_close(from_gpu(rgb).detach(), expected, rtol=1e-5, atol=1e-5)
