"""The reference against single queries, and the package against the reference where layers are changed."""

import copy
import warnings

import per_query
import pytest
import torch
from references import TINY_ENCODER, grid_queries, hardest, lively, picture, queries
from torch import nn
from torch.nn.utils import parametrize

from moeisr_plugin import render
from moeisr_plugin.archs import fast_path, reference, routing
from moeisr_plugin.archs.embeddings import Embedding
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.render import complexity
from moeisr_plugin.render.casting import to_precision
from moeisr_plugin.render.routing_report import routing_health

pytestmark = pytest.mark.slow

LIIF_TINY = {"encoder": TINY_ENCODER, "hidden_dim": 6}
LTE_TINY = {**LIIF_TINY, "num_freq_features": 8}
NETWORKS = {
    "LIIF": lambda: LIIF(**LIIF_TINY),
    "LIIF no unfold": lambda: LIIF(**LIIF_TINY, unfold=False),
    "LIIF no cell": lambda: LIIF(**LIIF_TINY, cell_decode=False),
    "LIIF nothing": lambda: LIIF(**LIIF_TINY, unfold=False, cell_decode=False, local_ensemble=False),
    "LTE": lambda: LTE(**LTE_TINY),
    "LTE no ensemble": lambda: LTE(**LTE_TINY, local_ensemble=False),
    "MoEISRLIIF": lambda: MoEISRLIIF(**LIIF_TINY),
    "MoEISRLIIF no ensemble": lambda: MoEISRLIIF(**LIIF_TINY, local_ensemble=False),
    "MoEISRLTE": lambda: MoEISRLTE(**LTE_TINY),
}
MIXTURES = ["MoEISRLIIF", "MoEISRLTE"]
CELLS = torch.tensor([[2 / 13, 2 / 22], [2 / 6, 2 / 53]], dtype=torch.float64)


def network(name, dtype=torch.float64):
    return lively(NETWORKS[name]()).to(dtype).eval()


def softmax(scores):
    return scores.softmax(1)


def close(actual, expected, *, tolerance=1e-10):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# --- the equations ---


@torch.no_grad()
@pytest.mark.parametrize("gate", [softmax, hardest])
@pytest.mark.parametrize("lr_size", [(5, 7), (1, 3)])
@pytest.mark.parametrize("name", NETWORKS)
def test_reference_equals_a_loop_over_queries(name, lr_size, gate):
    height, width = lr_size
    net, lr, coord = network(name), picture(2, height, width), queries(2, height, width, 12)
    encoding = net.encode(lr)
    gates = gate(encoding.scores)
    expected = per_query.colours(net, encoding, gates, coord, CELLS)
    close(reference.soft_mixture(net, encoding, coord, CELLS, gates), expected)
    if gate is hardest:
        close(reference.hard_choice(net, encoding, coord, CELLS), expected)
        close(reference.hard_choice(net, encoding, coord, CELLS, encoding.scores.argmax(1)), expected)


@torch.no_grad()
def test_colours_of_a_picture_are_these():
    """Numbers written down, so that the reference, the loop and the fast path cannot change together."""
    net, lr = network("MoEISRLIIF"), picture(1, 3, 4)
    coord, cell = torch.tensor([[[0.1, -0.3]]], dtype=torch.float64), CELLS[:1]
    encoding = net.encode(lr)
    mixed = reference.soft_mixture(net, encoding, coord, cell, encoding.scores.softmax(1))
    assert mixed.flatten().tolist() == pytest.approx([0.45547648, -0.18576691, 0.81959683], abs=1e-7)
    chosen = reference.hard_choice(net, encoding, coord, cell)
    assert chosen.flatten().tolist() == pytest.approx([0.17920423, 0.22096006, 0.8338253], abs=1e-7)


@torch.no_grad()
@pytest.mark.parametrize(("lr_size", "size"), [((5, 7), (7, 11)), ((2, 3), (6, 9)), ((1, 3), (2, 8))])
@pytest.mark.parametrize("name", NETWORKS)
def test_reference_renders_the_queries_of_a_grid(name, lr_size, size):
    net, lr = network(name), picture(2, *lr_size)
    scales = [n / n_lr for n, n_lr in zip(size, lr_size, strict=True)]
    clip = [max(scale / 4, 1) if name.startswith(("LTE", "MoEISRLTE")) else 1 for scale in scales]
    cell = torch.tensor([[2 / n * c for n, c in zip(size, clip, strict=True)]] * 2, dtype=torch.float64)
    encoding, coord = net.encode(lr), grid_queries(2, *size)
    expected = per_query.colours(net, encoding, hardest(encoding.scores), coord, cell)
    rendered = reference.render(net, encoding, size, chunk=50)
    assert rendered.shape == (2, 3, *size)
    # Rounding decides which latents a query on the centres of the last row and column reads.
    last = (1 - 1 / torch.tensor(lr_size, dtype=torch.float64) - coord[0]).abs() < 1e-12
    decided = ~last.any(dim=1)
    close(rendered.flatten(2).mT[:, decided], expected[:, decided], tolerance=1e-9)


@pytest.mark.parametrize("chunk", [1, 37, 10**6])
def test_chunks_of_queries_give_the_same_picture(chunk):
    net = network("MoEISRLTE")
    encoding = net.encode(picture(1, 3, 4))
    close(reference.render(net, encoding, (5, 9), chunk=chunk), reference.render(net, encoding, (5, 9)))


def test_autocast_keeps_coordinates_precise():
    """bfloat16 cannot tell the columns of a wide picture apart."""
    net, lr, size = network("MoEISRLIIF", torch.float32), picture(1, 3, 200).float(), (7, 600)
    encoding = render.encode(net, lr)
    exact = reference.render(net, encoding, size)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = reference.render(net, encoding, size)
    assert not torch.equal(rounded, exact)
    noise = (rounded - exact).square().mean() / exact.var()
    assert -10 * noise.log10() > 35


# --- the fast path ---


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
@pytest.mark.parametrize("size", [(5, 7), (15, 21), (13, 23), (10, 14), (38, 29), (2, 9)])
@pytest.mark.parametrize("name", NETWORKS)
def test_rendering_equals_the_reference(name, size, dtype, tolerance):
    net = network(name, dtype)
    encoding = render.encode(net, picture(1, 5, 7).to(dtype))
    close(render.render(net, encoding, size), reference.render(net, encoding, size), tolerance=tolerance)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_equals_the_reference_and_so_do_its_gradients(name):
    net, lr, coord = network(name).train(), picture(2, 5, 7), queries(2, 5, 7, 20)
    rgb, _ = net(lr, coord, CELLS, gate=softmax)
    encoding = net.encode(lr)
    expected = reference.soft_mixture(net, encoding, coord, CELLS, softmax(encoding.scores))
    close(rgb, expected)
    ours, theirs = (
        torch.autograd.grad(
            each.square().sum(), list(net.parameters()), materialize_grads=True, allow_unused=True
        )
        for each in (rgb, expected)
    )
    for gradient, expected_gradient in zip(ours, theirs, strict=True):
        close(gradient, expected_gradient, tolerance=1e-8)


def test_scores_that_are_given_decide_the_expert():
    net = network("MoEISRLIIF")
    encoding = net.encode(picture(1, 5, 7))
    pictures = []
    for j in range(4):
        scores = torch.zeros_like(encoding.scores).index_fill(1, torch.tensor(j), 1)
        chosen = encoding._replace(scores=scores)
        pictures.append(reference.render(net, chosen, (9, 16)))
        close(pictures[j], render.render(net, chosen, (9, 16)), tolerance=1e-9)
    assert (pictures[0] - pictures[3]).abs().max() > 0.01


@pytest.fixture
def no_reference(monkeypatch):
    """The reference fails where the package falls back on it."""

    def fail(*_, **__):
        raise AssertionError("the reference was used")

    for name in ("soft_mixture", "hard_choice", "expert_input"):
        monkeypatch.setattr(reference, name, fail)


@pytest.mark.usefixtures("no_reference")
@pytest.mark.parametrize("name", NETWORKS)
def test_unchanged_networks_and_their_copies_use_the_fast_path(name):
    net = network(name, torch.float32)
    lr, coord, cell = picture(2, 5, 7).float(), queries(2, 5, 7, 4).float(), CELLS.float()
    for each in (net, copy.deepcopy(net)):
        render.render(each, render.encode(each, lr), (9, 16))
        for training in (True, False):
            each.train(training)(lr, coord, cell)


@pytest.mark.usefixtures("no_reference")
@pytest.mark.parametrize("name", ["LIIF", "LTE", *MIXTURES])
def test_compiled_networks_use_the_fast_path_in_one_graph(name):
    net = network(name, torch.float32).train()
    torch.compiler.reset()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    arguments = (picture(2, 5, 7).float(), queries(2, 5, 7, 4).float(), CELLS.float())
    close(compiled(*arguments, gate=softmax).rgb, net(*arguments, gate=softmax).rgb, tolerance=1e-5)


# --- changed networks ---


class LoRALinear(nn.Linear):
    """A linear layer with a low-rank update, as a subclass."""

    def __init__(self, base):
        super().__init__(base.in_features, base.out_features)
        self.load_state_dict(base.state_dict())
        generator = torch.Generator().manual_seed(5)
        self.down = nn.Parameter(torch.randn(1, base.in_features, generator=generator) / 4)
        self.up = nn.Parameter(torch.randn(base.out_features, 1, generator=generator) / 4)

    def forward(self, input):
        return super().forward(input) + input @ self.down.t() @ self.up.t()


class Wrapped(nn.Module):
    """A linear layer in a wrapper that doubles what it gives."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def forward(self, input):
        return 2 * self.base(input)


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def replace_with(change, layer):
    def apply(net):
        net.experts[-1].layers[layer] = change(net.experts[-1].layers[layer])

    return apply


def parametrised(net):
    parametrize.register_parametrization(net.experts[-1].layers[0], "weight", Doubled())


def instance_forward(net):
    layer = net.experts[-1].layers[0]
    layer.forward = lambda x: 3 * nn.Linear.forward(layer, x)


def changed_coefficients(net):
    net.embedding.freq = nn.Sequential(net.embedding.freq, nn.Tanh())


CHANGES = {
    "LoRA, first layer": replace_with(LoRALinear, 0),
    "LoRA, last layer": replace_with(LoRALinear, -1),
    "wrapper, first layer": replace_with(Wrapped, 0),
    "wrapper, hidden layer": replace_with(Wrapped, 2),
    "activation": replace_with(lambda _: nn.Tanh(), 1),
    "parametrisation": parametrised,
    "forward of an instance": instance_forward,
}
CASES = [(name, change) for name in ("LIIF", "LTE", "MoEISRLIIF", "MoEISRLTE") for change in CHANGES.values()]
CASES += [("LTE", changed_coefficients), ("MoEISRLTE", changed_coefficients)]


def changed(name, change):
    """A network, and the same one changed."""
    net = lively(NETWORKS[name]())
    other = copy.deepcopy(net)
    change(other)
    return net.double().eval(), other.double().eval()


@torch.no_grad()
@pytest.mark.parametrize(("name", "change"), CASES)
def test_changed_layers_act_in_rendering(name, change, monkeypatch):
    net, other = changed(name, change)
    encoding = other.encode(picture(1, 4, 5))
    size, coord = (7, 11), grid_queries(1, 7, 11)
    cell = torch.tensor([[2 / 7, 2 / 11]], dtype=torch.float64)
    scores = torch.rand(encoding.scores.shape, generator=torch.Generator().manual_seed(0)).double()
    encoding = encoding._replace(scores=scores)
    expected = queries_by_layers(other, encoding, coord, cell)
    for block_bytes, band_queries in ((2**20, 10**6), (5000, 1)):
        monkeypatch.setattr("moeisr_plugin.render.grid_decoder._BLOCK_BYTES", {"cpu": block_bytes})
        monkeypatch.setattr("moeisr_plugin.render.engine._BAND_QUERIES", {"cpu": band_queries})
        rendered = render.render(other, encoding, size)
        close(rendered.flatten(2).mT, expected)
    assert (render.render(net, encoding, size) - rendered).abs().max() > 0.01


def queries_by_layers(net, encoding, coord, cell):
    """Return RGB (B, Q, 3) of a changed network, by the loop over queries, which calls its layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(per_query, "mlp", lambda expert, features: expert.layers(features[None])[0])
        if net.hyper_parameters["type"].endswith("LTE"):
            patch.setattr(per_query, "lte_features", features_of_changed_lte)
        return per_query.colours(net, encoding, hardest(encoding.scores), coord, cell)


def features_of_changed_lte(net, latent, sample, row, column, rel, rel_cell):
    coef = net.embedding.coef(latent)[sample, :, row, column]
    freq = net.embedding.freq(latent)[sample, :, row, column]
    angle = torch.pi * (freq[0::2] * rel[0] + freq[1::2] * rel[1] + net.embedding.phase(rel_cell))
    return coef * torch.cat([angle.cos(), angle.sin()])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "change"), CASES)
def test_changed_layers_act_in_the_forward_pass_and_learn(name, change, training):
    net, other = changed(name, change)
    lr, coord = picture(2, 5, 7), queries(2, 5, 7, 6)
    rgb, scores = other.train(training)(lr, coord, CELLS, gate=softmax)
    encoding = other.encode(lr)
    gates = (softmax if training else hardest)(encoding.scores)
    close(rgb, reference.soft_mixture(other, encoding, coord, CELLS, gates))
    assert scores.equal(encoding.scores)
    assert (rgb - net.train(training)(lr, coord, CELLS, gate=softmax).rgb).abs().max() > 1e-3
    rgb.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in other.experts[-1].parameters())

    choice = torch.randint(len(net.experts), (2, 5, 7), generator=torch.Generator().manual_seed(0))
    rgb = other(lr, coord, CELLS, choice=choice).rgb
    close(rgb, reference.hard_choice(other, encoding, coord, CELLS, choice))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("MoEISRLIIF", "experts.0.layers.0"),
        ("MoEISRLIIF", "experts.0.layers.1"),
        ("MoEISRLTE", "experts.0"),
        ("MoEISRLTE", "embedding.coef"),
    ],
)
@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward"])
def test_hooks_run_and_change_nothing(name, kind, part):
    net, lr, coord = network(name).train(), picture(1, 5, 7), queries(1, 5, 7, 6)
    encoding = net.encode(lr)
    scores = torch.zeros_like(encoding.scores).index_fill(1, torch.tensor(0), 1)
    encoding = encoding._replace(scores=scores)
    rendered, rgb = render.render(net, encoding, (9, 16)), net(lr, coord, CELLS[:1], gate=softmax).rgb
    calls = []
    register = getattr(net.get_submodule(part), f"register_{kind}_hook")
    handle = register(lambda *_: calls.append(part))
    close(render.render(net, encoding, (9, 16)), rendered)
    assert bool(calls) == (kind != "full_backward")
    calls.clear()
    hooked = net(lr, coord, CELLS[:1], gate=softmax).rgb
    hooked.sum().backward()
    close(hooked, rgb)
    assert calls
    assert not fast_path.serves(net)
    handle.remove()
    assert fast_path.serves(net)


@pytest.mark.parametrize(
    "part", ["encoder.head.0", "encoder.body.0.body.1", "mapper", "mapper.0", "mapper.1"]
)
def test_hooks_in_encoder_and_mapper_run(part):
    net, calls = network("MoEISRLIIF", torch.float32), []
    net.get_submodule(part).register_forward_hook(lambda *_: calls.append(part))
    render.encode(net, picture(1, 5, 7).float())
    assert calls == [part]
    assert fast_path.serves(net)


@pytest.mark.parametrize("name", ["LIIF", "LTE", "MoEISRLIIF", "MoEISRLTE"])
def test_dynamically_quantised_layers_render(name):
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.Linear}, dtype=torch.qint8)
    encoding = render.encode(other, picture(1, 5, 7).float())
    exact, rendered = (render.render(each, encoding, (13, 22)) for each in (net, other))
    assert not rendered.equal(exact)
    close(rendered, exact, tolerance=0.02)
    coord, cell = grid_queries(1, 13, 22).float(), torch.tensor([[2 / 13, 2 / 22]])
    close(other(encoding.lr, coord, cell).rgb.mT.unflatten(2, (13, 22)), exact, tolerance=0.02)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", MIXTURES)
def test_changed_networks_render_in_16_bits(name, precision):
    _, other = changed(name, CHANGES["LoRA, first layer"])
    other, lr = other.float(), picture(1, 5, 7).float()
    exact = render.render(other, render.encode(other, lr), (13, 22))
    encoding = render.encode(to_precision(other, precision), lr)
    rounded = render.render(other, encoding, (13, 22))
    assert rounded.dtype == torch.float32
    # The median, as rounding gives a few LR pixels to another expert.
    assert (rounded - exact).square().median() < 0.01 * exact.var()


def test_memory_of_changed_networks_is_bounded(monkeypatch):
    sizes = []
    net = network("MoEISRLIIF", torch.float32)
    for expert in net.experts:
        expert.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].nbytes))
    monkeypatch.setattr("moeisr_plugin.render.grid_decoder._BLOCK_BYTES", {"cpu": 100_000})
    render.render(net, render.encode(net, picture(1, 1, 2).float()), (150, 230))
    assert sum(sizes) > 2 * 100_000 * torch.get_num_threads()
    assert max(sizes) <= 100_000 * torch.get_num_threads()


@pytest.mark.parametrize("name", MIXTURES)
def test_budgets_maps_and_complexity_of_changed_networks(name):
    net, other = changed(name, CHANGES["wrapper, first layer"])
    encoding = render.encode(other, picture(1, 5, 7))
    within = render.within_budget(other, encoding, 0.5)
    assert within.scores.equal(render.within_budget(net, encoding, 0.5).scores)
    choice = render.expert_map(within)[0]
    work = complexity.workload(other, choice, (12, 16))
    assert complexity.published_macs(other, work) == complexity.published_macs(net, work)
    rows, columns = work.pixel_grid
    macs = [expert.macs() * rows * columns for expert in net.experts]
    of_maps = 2 * 9 * 4 * 8 if name == "MoEISRLTE" else 0
    decoding = sum((each + of_maps) * n for each, n in zip(macs, work.lr_pixels, strict=True))
    assert complexity.executed_macs(other, work) == complexity.mapper_macs(net, (5, 7)) + decoding
    health = routing_health(other, encoding, (12, 16), lambda rgb: rgb.mean().item(), routed=0.5)
    deepest = encoding._replace(scores=routing.use_everywhere(encoding.scores, len(macs) - 1))
    mean = reference.render(other, deepest, (12, 16)).mean().item()
    assert health[f"only_d{other.experts[-1].depth}"] == pytest.approx(mean)


def test_an_expert_of_another_class_is_rendered_and_has_no_budget():
    net = network("MoEISRLIIF")
    encoding = net.encode(picture(1, 5, 7))
    expected = render.render(net, encoding, (9, 16))
    net.experts[1] = nn.Sequential(net.experts[1])
    close(render.render(net, encoding, (9, 16)), expected)
    with pytest.raises(
        ValueError, match=r"^experts\.1 is a Sequential, of unknown depth and MACs; give an Expert$"
    ):
        render.within_budget(net, encoding, 0.5)


def test_an_embedding_without_equations_is_refused():
    net = network("LIIF")
    with pytest.raises(TypeError, match="no equations for Embedding"):
        reference.feature_maps(Embedding(), net.encode(picture(1, 5, 7)).latent)
