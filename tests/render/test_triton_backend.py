"""Triton kernels match torch. Without a GPU, Triton's interpreter runs them."""

import importlib.util
from importlib.metadata import version

import pytest
import torch
from packaging.version import Version
from references import lively, picture
from torch import nn

from moeisr_plugin import render
from moeisr_plugin.archs.embeddings import LIIFEmbedding
from moeisr_plugin.archs.encoders.edsr_encoder_arch import EDSREncoder
from moeisr_plugin.archs.encoders.rdn_encoder_arch import RDNEncoder
from moeisr_plugin.archs.encoders.swinir_encoder_arch import SwinIREncoder
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF
from moeisr_plugin.archs.mapper import Mapper
from moeisr_plugin.render import triton_backend
from moeisr_plugin.render.casting import rounded_to_tf32
from moeisr_plugin.render.complexity import count_macs
from moeisr_plugin.render.convolution_epilogues import forward_with_epilogues

pytestmark = [pytest.mark.filterwarnings("error:a Triton kernel"), pytest.mark.slow]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# Earlier versions cannot interpret loops with NumPy 2.
INTERPRETED_SINCE = Version("3.9")


def cannot_run_kernels():
    if importlib.util.find_spec("triton") is None:
        return True
    if DEVICE.type == "cuda" and not triton_backend._gpu_is_supported(0):
        return True
    return DEVICE.type == "cpu" and Version(version("triton")) < INTERPRETED_SINCE


needs_triton = pytest.mark.skipif(cannot_run_kernels(), reason="needs a GPU, or Triton 3.9 to interpret")
ENCODER = {"type": "EDSREncoder", "num_feat": 16, "num_block": 1}
NETWORKS = {
    "LIIF": lambda: LIIF(encoder=ENCODER, hidden_dim=16, depth=3),
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=ENCODER, hidden_dim=32),
    "no ensemble": lambda: MoEISRLIIF(encoder=ENCODER, hidden_dim=16, local_ensemble=False),
    "neither neighbourhood nor cell": lambda: MoEISRLIIF(
        encoder=ENCODER, hidden_dim=16, unfold=False, cell_decode=False
    ),
    "wide": lambda: MoEISRLIIF(encoder=ENCODER, hidden_dim=256, expert_depths=[2, 4]),
    "LTE": lambda: LTE(encoder=ENCODER, hidden_dim=16, num_freq_features=16),
    "of no power of two": lambda: MoEISRLIIF(encoder=ENCODER, hidden_dim=24),
    "too wide": lambda: LIIF(encoder=ENCODER, hidden_dim=260, depth=2),
}
ENCODERS = {
    "EDSR": lambda: EDSREncoder(num_feat=8, num_block=2, res_scale=0.3),
    "RDN": lambda: RDNEncoder(num_feat=8, num_block=2, num_layer=2, num_grow_ch=4),
    "SwinIR": lambda: SwinIREncoder(embed_dim=12, depths=[2], num_heads=[2], window_size=4),
    "mapper": lambda: Mapper(latent_channels=3, num_experts=4, depth=3, hidden_dim=8),
    "odd convolutions": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, padding="same", padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, stride=2, dilation=2, groups=2),
        nn.LeakyReLU(),
        nn.Conv2d(4, 4, 1, bias=False),
    ),
}


@pytest.fixture
def kernels(monkeypatch):
    """Enable the kernels without a GPU, for small images, and with few queries per program."""
    monkeypatch.setattr("moeisr_plugin.render.convolutions._MIN_EPILOGUE_PIXELS", 1)
    monkeypatch.setattr(triton_backend, "_gpu_is_supported", lambda index: True)
    if DEVICE.type == "cpu":
        monkeypatch.setattr(triton_backend, "_DEVICE", "cpu")
        monkeypatch.setattr(
            triton_backend,
            "_LAUNCHES",
            dict.fromkeys(
                triton_backend._LAUNCHES,
                (triton_backend.Launch(64, 4), triton_backend.Launch(64, 4, halves=True)),
            ),
        )


def render_randomly_routed(net, lr, size):
    """Render with a random expert map, in which all experts are neighbours."""
    encoding = render.encode(net, lr)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(encoding.scores.shape, generator=generator).to(encoding.scores)
    return render.render(net, encoding._replace(scores=scores), size)


@needs_triton
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("band_queries", [300, 10**6])
@pytest.mark.parametrize(("lr_size", "size"), [((5, 7), (13, 22)), ((3, 1), (2, 9)), ((2, 3), (2, 3))])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float16, 0.01)])
@pytest.mark.parametrize("name", NETWORKS)
def test_rendering_matches_torch(name, dtype, tolerance, lr_size, size, band_queries, monkeypatch):
    """The frequencies of LTE amplify the rounding errors of the latent."""
    monkeypatch.setattr("moeisr_plugin.render.engine._BAND_QUERIES", {"cpu": band_queries})
    tolerance *= 10 if name == "LTE" else 1
    net, lr = lively(NETWORKS[name]()).to(DEVICE, dtype).eval(), picture(1, *lr_size).to(DEVICE, dtype)
    with triton_backend.without_kernels():
        expected = render_randomly_routed(net, lr, size)
    rendered = render_randomly_routed(net, lr, size)
    assert not rendered.equal(expected)  # otherwise no kernel was used
    too_large = triton_backend._launch(256, "tf32x3") is None and name == "wide" and dtype == torch.float32
    supported = name not in ("LTE", "too wide") and not too_large
    assert triton_backend.can_decode(net, render.encode(net, lr).latent) == supported
    torch.testing.assert_close(rendered, expected, rtol=tolerance, atol=tolerance)


@needs_triton
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_epilogues_match_torch(encoder, order, monkeypatch):
    apply_epilogue_, calls = triton_backend.kernels().apply_epilogue_, []
    monkeypatch.setattr(
        triton_backend.kernels(),
        "apply_epilogue_",
        lambda *args, **options: calls.append(options) or apply_epilogue_(*args, **options),
    )
    torch.manual_seed(0)
    net = ENCODERS[encoder]().to(DEVICE).eval()
    lr = picture(2, 9, 14).float().to(DEVICE).contiguous(memory_format=order)
    with torch.inference_mode():
        expected = net(lr)
        torch.testing.assert_close(forward_with_epilogues(net, lr), expected, rtol=1e-5, atol=1e-5)
    assert bool(calls) == (encoder != "SwinIR")


class Doubled(nn.Conv2d):
    def forward(self, input):
        return 2 * super().forward(input)


@needs_triton
@pytest.mark.usefixtures("kernels")
def test_changed_modules_use_their_own_forward():
    """Subclassed convolutions, other activations, hooks on convolutions and encoders, replaced blocks."""
    torch.manual_seed(0)
    lr, seen = picture(1, 9, 14).float().to(DEVICE), []
    for change in (
        lambda net: setattr(net, "head", nn.Sequential(Doubled(3, 8, 3, padding=1))),
        lambda net: net.body[0].body.__setitem__(1, nn.LeakyReLU(0.5)),
        lambda net: net.body[0].body.__setitem__(2, Doubled(8, 8, 3, padding=1)),
        lambda net: net.body[1].body[0].register_forward_pre_hook(lambda *call: seen.append(call)),
        lambda net: net.body.__setitem__(0, nn.Identity()),
        lambda net: net.register_forward_hook(lambda module, given, latent: latent + 1),
    ):
        net = EDSREncoder(num_feat=8, num_block=2)
        change(net)
        net = net.to(DEVICE).eval()
        with torch.inference_mode():
            torch.testing.assert_close(forward_with_epilogues(net, lr), net(lr), rtol=1e-5, atol=1e-5)
    assert len(seen) == 2


@needs_triton
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("encoder", "part"),
    [
        *[("EDSR", part) for part in ("head", "body", "body.0", "body.0.body", "body.0.body.1", "body.2")],
        *[("RDN", part) for part in ("GFF", "RDBs.0.convs", "RDBs.0.convs.0.conv.1", "RDBs.0.LFF")],
    ],
)
def test_hooks_on_any_part_of_an_encoder_run(encoder, part):
    net = ENCODERS[encoder]().to(DEVICE).eval()
    net.get_submodule(part).register_forward_hook(lambda module, given, output: output + 1)
    lr = picture(1, 9, 14).float().to(DEVICE)
    with torch.inference_mode():
        torch.testing.assert_close(forward_with_epilogues(net, lr), net(lr), rtol=1e-5, atol=1e-5)


def rounded(numbers):
    """Round to a mantissa of 10 bits in float64, halves away from zero."""
    mantissa, exponent = torch.frexp(numbers.double())
    steps = mantissa.abs() * 2**11
    return torch.ldexp((steps + 0.5).floor() / 2**11 * mantissa.sign(), exponent)


@needs_triton
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("width", [16, 256])
def test_factors_are_rounded_to_tf32(width):
    """Tensor cores truncate to TF32, which would add a bias to sums."""
    net = lively(LIIF(encoder=ENCODER, hidden_dim=width, depth=4)).to(DEVICE).eval()
    latent = torch.randn(1, 16, 3, 4, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    rel_cell, rel_y, rel_x = (t.to(DEVICE) for t in (torch.ones(1, 2), torch.rand(3, 2), torch.rand(4, 5)))
    with torch.inference_mode(), rounded_to_tf32(True):
        assert isinstance(net.embedding, LIIFEmbedding)
        decode = triton_backend.grid_decoder(net, latent, rel_cell)
        colours = decode(net.pad(latent), [torch.arange(12, device=DEVICE)], rel_y, rel_x)
        of_latent, of_rel, constant = net.embedding.parts(net.expert_list[0].first, rel_cell)
        kernel = rounded(of_latent).unflatten(1, (16, 3, 3))
        table = nn.functional.conv2d(rounded(latent), kernel, padding=1)[0].movedim(0, -1) + constant
        by_row = rel_y[:, None, :, None, None] * of_rel[:, 0]
        by_column = rel_x[None, :, None, :, None] * of_rel[:, 1]
        hidden = (table[:, :, None, None] + by_row + by_column).relu()  # (h, w, P, R, C)
        *between, last = net.expert_list[0].linears[1:]
        for layer in between:
            hidden = (rounded(hidden) @ rounded(layer.weight).T + layer.bias).relu()
        expected = rounded(hidden) @ rounded(last.weight).T + last.bias
    error = (colours - expected).norm() / expected.norm()
    assert error < 1e-4  # truncation has ten times this error; few features round differently


@needs_triton
@pytest.mark.usefixtures("kernels")
def test_nan_in_weights_reaches_the_output():
    net, lr = lively(NETWORKS["MoEISRLIIF"]()).to(DEVICE), picture(1, 5, 7).float().to(DEVICE)
    net.expert_list[1].linears[0].bias.data[3] = torch.nan
    assert render_randomly_routed(net, lr, (13, 22)).isnan().any()
    net.encoder.body[0].body[0].bias.data[3] = torch.nan
    assert render.encode(net, lr).latent.isnan().all()


@needs_triton
@pytest.mark.usefixtures("kernels")
def test_macs_do_not_depend_on_kernels():
    net, lr = lively(NETWORKS["MoEISRLIIF"]()).to(DEVICE), picture(1, 5, 7).float().to(DEVICE)
    with triton_backend.without_kernels():
        encoding = render.encode(net, lr)
        expected = count_macs(lambda: render.render(net, encoding, (13, 22)))
    assert count_macs(lambda: render.render(net, encoding, (13, 22))) == expected > 0


@needs_triton
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("width", [16, 256])
def test_trying_a_kernel_does_not_change_the_random_state(width):
    before = torch.get_rng_state()
    triton_backend._try_blending(DEVICE)
    triton_backend._try_decoding(DEVICE, width, 16, 1, torch.float32, "tf32")
    assert torch.get_rng_state().equal(before)


@pytest.mark.usefixtures("kernels")
@pytest.mark.filterwarnings("always:a Triton kernel")
@pytest.mark.parametrize(("error", "warnings"), [("RuntimeError", 1), ("OutOfResources", 0)])
def test_a_failing_kernel_is_replaced_by_torch(error, warnings, monkeypatch, recwarn):
    def fail(device, *arguments):
        raise type(error, (Exception,), {})("no compiler\nanywhere")

    monkeypatch.setattr(triton_backend, "_try_blending", fail)
    net, lr = lively(NETWORKS["MoEISRLIIF"]()).to(DEVICE), picture(1, 5, 7).float().to(DEVICE)
    with triton_backend.without_kernels():
        expected = render_randomly_routed(net, lr, (13, 22))
    assert render_randomly_routed(net, lr, (13, 22)).equal(expected)
    messages = [str(each.message) for each in recwarn if "Triton" in str(each.message)]
    assert len(messages) == warnings
    assert all(each.endswith("continues without Triton: no compiler anywhere") for each in messages)


@pytest.mark.usefixtures("kernels")
def test_kernels_can_be_disabled(monkeypatch):
    monkeypatch.setattr(triton_backend, "_works", lambda *arguments: True)
    like = torch.empty(1, device=DEVICE)
    assert triton_backend.supports(like)
    assert not triton_backend.supports(like.double())
    assert not triton_backend.supports(torch.empty(1, device="meta"))
    with triton_backend.without_kernels():
        assert not triton_backend.supports(like)
    monkeypatch.setenv("MOEISR_KERNELS", "0")
    assert not triton_backend.supports(like)


def test_a_cpu_has_no_kernels():
    assert not triton_backend.supports(torch.empty(1))
