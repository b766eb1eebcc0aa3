"""Networks in int8: close to float32, unchanged where codes do not apply, and replaced where impossible."""

import logging

import pytest
import torch
from references import TINY_ENCODER, lively, picture
from torch import nn

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.ops import int8_support
from moeisr_plugin.ops.int8_chain import Int8Convolutions
from moeisr_plugin.pictures import read_picture
from moeisr_plugin.render import casting
from moeisr_plugin.render.casting import supported_precision, to_precision
from moeisr_plugin.render.int8_encoder import with_int8_convolutions

needs_int8 = pytest.mark.skipif(int8_support.obstacle() is not None, reason=str(int8_support.obstacle()))
CPU = torch.device("cpu")


def enlarged(net, lr, size):
    return render.render(net, render.encode(net, lr), size)


def photograph(photographs, name, *, height, width):
    pixels = read_picture(photographs / name).pixels[:height, :width]
    return torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255


@needs_int8
@pytest.mark.parametrize("name", ["tiny_MoEISR_LIIF_s", "tiny_LIIF", "tiny_LTE"])
def test_pictures_are_close_to_float32(name, photographs):
    lr, size = photograph(photographs, "astronaut.png", height=41, width=57), (101, 150)
    net = network_from(name)
    exact = enlarged(net, lr, size)
    coded = enlarged(to_precision(net, "int8"), lr, size)
    assert coded.dtype == torch.float32
    difference = (coded - exact).abs() * 255
    assert 0 < difference.mean() < 0.5
    assert difference.median() < 0.5
    assert torch.equal(enlarged(to_precision(net, "float32"), lr, size), exact)


@needs_int8
def test_tiles_and_bands_do_not_show(photographs, monkeypatch):
    lr, size = photograph(photographs, "chelsea.png", height=60, width=47), (130, 99)
    net = to_precision(network_from("tiny_LIIF"), "int8")
    whole = enlarged(net, lr, size)
    monkeypatch.setattr("moeisr_plugin.render.engine._BAND_QUERIES", {"cpu": 20_000})
    monkeypatch.setattr("moeisr_plugin.render.grid_decoder._BLOCK_BYTES", {"cpu": 10_000})
    parts = render.render(net, render.encode(net, lr, tile=25), size)
    torch.testing.assert_close(parts, whole, rtol=0, atol=2 / 255)


@needs_int8
@pytest.mark.parametrize("kind", ["noise", "checks", "strokes"])
def test_extreme_pictures_are_close_to_float32(kind):
    """They exceed the ranges of photographs, which codes cover."""
    generator = torch.Generator().manual_seed(0)
    row, column = torch.meshgrid(torch.arange(50), torch.arange(62), indexing="ij")
    lr = {
        "noise": torch.randint(2, (1, 3, 50, 62), generator=generator).float(),
        "checks": ((row + column) % 2).float().expand(1, 3, -1, -1),
        "strokes": ((row % 7 > 0) & (column % 11 > 0)).float().expand(1, 3, -1, -1),
    }[kind]
    net = network_from("tiny_LIIF")
    exact = enlarged(net, lr, (110, 140))
    coded = enlarged(to_precision(net, "int8"), lr, (110, 140))
    assert (coded - exact).abs().max() * 255 < 12


@needs_int8
def test_the_network_and_its_weights_stay_as_they_are():
    net = lively(MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=8))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    to_precision(net, "int8")
    assert {value.dtype for value in net.state_dict().values()} == {torch.float32}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@needs_int8
def test_encoders_are_converted_where_their_modules_allow():
    torch.manual_seed(0)
    sample = torch.rand(1, 16, 12, 14)

    class Pair(nn.Module):
        """A chain of two, and convolutions with a hook, of one pixel, alone and unused."""

        def __init__(self):
            super().__init__()
            self.chain = nn.Sequential(
                nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)
            )
            self.hooked = nn.Conv2d(16, 16, 3, padding=1)
            self.point = nn.Conv2d(16, 16, 1)
            self.alone = nn.Conv2d(16, 16, 3, padding=1)
            self.unused = nn.Conv2d(16, 16, 3)
            self.hooked.register_forward_hook(lambda *call: call[2] * 2)

        def forward(self, x):
            return self.alone(torch.relu(self.point(self.hooked(self.chain(x)))))

    net = Pair().requires_grad_(False)
    with torch.inference_mode():
        converted, output = with_int8_convolutions(net, sample)
        torch.testing.assert_close(output, net(sample))
        error = (converted(sample * 0.99) - net(sample * 0.99)).norm() / output.norm()
    assert 0 < error < 0.05
    kinds = {name: type(module) for name, module in converted.named_children()}
    assert kinds["alone"] is Int8Convolutions
    assert kinds["hooked"] is kinds["point"] is kinds["unused"] is nn.Conv2d
    assert [type(module) for module in converted.get_submodule("chain").children()] == [
        Int8Convolutions,
        nn.Identity,
        nn.Identity,
    ]
    assert type(net.alone) is nn.Conv2d


@needs_int8
def test_an_encoder_that_calls_parts_of_a_chain_stays_in_float32():
    class Taps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)
            )

        def forward(self, x):
            inner = self.layers[0](x)
            return inner + self.layers[2](torch.tanh(inner))

    torch.manual_seed(0)
    net, sample = Taps().requires_grad_(False), torch.randn(1, 16, 12, 14)
    with torch.inference_mode():
        converted, output = with_int8_convolutions(net, sample)
        assert torch.equal(converted(sample), output)


@needs_int8
def test_experts_that_the_folded_evaluation_does_not_serve_stay_in_float32():
    net = to_precision(LIIF(encoder=TINY_ENCODER, hidden_dim=8), "int8")
    assert net.int8.experts is not None
    net.expert_list[0].first.register_forward_hook(lambda *call: call[2] * 0)
    lr = picture(1, 8, 9).float()
    hooked = enlarged(net, lr, (16, 18))
    torch.testing.assert_close(hooked, enlarged(to_precision(net, "float32"), lr, (16, 18)))
    assert to_precision(LTE(encoder=TINY_ENCODER, hidden_dim=8), "int8").int8.experts is None


@needs_int8
def test_damaged_weights_are_refused():
    net = LIIF(encoder=TINY_ENCODER, hidden_dim=8)
    net.expert_list[0].linears[1].weight.data[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"experts\.0\.layers\.2\.weight contains NaN or Inf"):
        to_precision(net, "int8")


@pytest.mark.parametrize(("bfloat16", "replacement"), [(True, "bfloat16"), (False, "float32")])
def test_a_machine_without_int8_takes_the_next_precision(bfloat16, replacement, monkeypatch, caplog):
    monkeypatch.setattr(casting, "obstacle", lambda: "this CPU lacks AVX-512 VNNI")
    monkeypatch.setattr(casting, "onednn_supports", lambda dtype: bfloat16)
    with caplog.at_level(logging.WARNING):
        assert supported_precision("int8", CPU) == replacement
    assert caplog.messages == [f"precision int8: this CPU lacks AVX-512 VNNI; using {replacement}"]
    with pytest.raises(ValueError, match="precision int8: this CPU lacks AVX-512 VNNI"):
        to_precision(LIIF(encoder=TINY_ENCODER, hidden_dim=8), "int8")
    caplog.clear()
    assert supported_precision("bfloat16", CPU) == "bfloat16"
    assert not caplog.messages


def test_a_gpu_takes_the_next_precision(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert supported_precision("int8", torch.device("cuda")) == "bfloat16"
    assert supported_precision("int8", torch.device("mps")) == "float32"
    assert caplog.messages[0] == "precision int8: a GPU does not support it; using bfloat16"
