"""A decoder of ten lines goes through training, rendering and every command."""

import json
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from skimage import data
from torch.nn import functional as F
from training_files import CARD
from trainings import finish, options, printed, run_cli, start

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import ImplicitDecoder
from moeisr_plugin.archs.registry import NETWORKS
from moeisr_plugin.render.casting import to_precision
from moeisr_plugin.render.complexity import executed_macs, extreme_workloads, published_macs

DECODER = """
from torch import nn
from torch.nn import functional as F

from moeisr_plugin.archs.implicit_network import ImplicitDecoder
from moeisr_plugin.archs.registry import register


@register
class BilinearDecoder(ImplicitDecoder):
    def __init__(self, *, encoder, gain=1.0):
        super().__init__(encoder=encoder, gain=gain)
        self.gain, self.rgb = gain, nn.Conv2d(self.latent_channels, 3, 1)

    def decode(self, encoding, coord, cell):
        picture = 0.5 + self.gain * self.rgb(encoding.latent)
        return F.grid_sample(picture, coord.flip(-1)[:, None], align_corners=False)[:, :, 0].mT
"""
ENCODER = {"type": "EDSREncoder", "num_feat": 4, "num_block": 1}


@pytest.fixture(scope="module")
def bilinear():
    before = dict(NETWORKS)
    namespace = {"__name__": "bilinear_decoder"}
    exec(DECODER, namespace)
    yield namespace["BilinearDecoder"]
    NETWORKS.clear()
    NETWORKS.update(before)


@pytest.fixture
def net(bilinear):
    torch.manual_seed(0)
    return bilinear(encoder=ENCODER, gain=0.5).eval()


@pytest.mark.parametrize("queries", [1, 13, 65_536])
def test_render_equals_one_call_for_any_chunk(net, queries):
    net.queries_at_a_time = queries
    lr = torch.rand(2, 3, 5, 7)
    encoding = render.encode(net, lr)
    picture = 0.5 + 0.5 * net.rgb(net.encoder(2 * lr - 1))
    expected = F.interpolate(picture, (11, 17), mode="bilinear", align_corners=False)
    # grid_sample pads by zeros and interpolate repeats the border.
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(
        render.render(net, encoding, (11, 17))[inner], expected[inner], rtol=0, atol=1e-5
    )


def test_forward_equals_render(net):
    lr = torch.rand(1, 3, 5, 7)
    whole = render.render(net, render.encode(net, lr), (3, 4))  # (1, 3, 3, 4)
    rows, columns = (torch.tensor([-1 + (2 * i + 1) / n for i in range(n)]) for n in (3, 4))
    coord = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).view(1, 12, 2)
    rgb, scores = net(lr, coord, torch.tensor([[2 / 3, 2 / 4]]))
    torch.testing.assert_close(rgb.mT.view(1, 3, 3, 4), whole, rtol=0, atol=1e-6)
    assert scores.shape == (1, 1, 5, 7)
    assert net(lr, coord[:, :0], torch.ones(1, 2)).rgb.shape == (1, 0, 3)


def test_hyper_parameters_are_recorded(net):
    assert net.hyper_parameters == {"type": "BilinearDecoder", "encoder": ENCODER, "gain": 0.5}


def test_16_bits_encode_and_float32_decodes(net):
    lr = torch.rand(1, 3, 6, 5)
    exact = render.render(net, render.encode(net, lr), (12, 11))
    rounded = to_precision(net, "bfloat16")
    assert rounded.state_dict()["rgb.weight"].dtype == torch.float32
    assert next(rounded.encoder.parameters()).dtype == torch.bfloat16
    picture = render.render(rounded, render.encode(rounded, lr), (12, 11))
    assert picture.dtype == torch.float32
    torch.testing.assert_close(picture, exact, rtol=0, atol=0.02)


def test_macs_are_those_of_the_convolution(net):
    (work,) = extreme_workloads(net, (9, 10), (27, 40))
    assert work.queries == (27 * 40,)
    assert executed_macs(net, work) == published_macs(net, work) == 90 * 4 * 3


def test_a_budget_is_refused_in_one_line(net):
    encoding = render.encode(net, torch.rand(1, 3, 4, 4))
    with pytest.raises(ValueError, match="BilinearDecoder has one expert"):
        render.within_budget(net, encoding, 0.5)


def test_a_decoder_without_decode_says_so():
    class Empty(ImplicitDecoder):
        pass

    net = Empty(encoder=ENCODER)
    with pytest.raises(NotImplementedError):
        net(torch.rand(1, 3, 4, 4), torch.zeros(1, 1, 2), torch.ones(1, 2))


@pytest.mark.slow
def test_every_command(tmp_path, photographs):
    (tmp_path / "bilinear_decoder.py").write_text(DECODER)
    opt: dict[str, Any] = options(photographs) | {"import": ["bilinear_decoder.py"]}
    opt["network_g"] = {"type": "BilinearDecoder", "encoder": ENCODER, "gain": 0.5}
    del opt["train"]["balance_opt"]
    opt["val"]["save_img"] = True
    assert finish(start(tmp_path, opt)) == [0], printed(tmp_path)
    assert "psnr" in printed(tmp_path)
    weights = tmp_path / "experiments/tiny/models/net_g_latest.pth"
    Image.fromarray(data.astronaut()[40:63, 170:201]).save(tmp_path / "small.png")
    (tmp_path / "card.yml").write_text(
        yaml.safe_dump({**CARD, "training_images": [{**CARD["training_images"][0], "pictures": 2}]})
    )
    own = ("--import", "bilinear_decoder.py")
    for command in (
        ("upscale", "small.png", "--scale", "2x3.5", "--weights", weights, *own),
        ("evaluate", "--weights", weights, "--data", photographs, "--scales", 2, "-o", "out", *own),
        ("publish", weights, "-o", "zoo", "--card", "card.yml", "--results", "out/results.json", *own),
        ("complexity", "--weights", weights, *own),
        ("complexity", "-opt", "options.yml"),
        ("convert", weights, "net.safetensors", *own),
    ):
        code, text = run_cli(tmp_path, *command)
        assert code == 0, text
    assert np.asarray(Image.open(tmp_path / "small_x2x3.5.png")).shape == (80, 62, 3)
    averages = json.loads((tmp_path / "out/results.json").read_text())["averages"]
    assert {row["weights"] for row in averages} == {"bicubic", "net_g_latest"}
    assert "BilinearDecoder on EDSREncoder" in (tmp_path / "zoo/tiny.md").read_text()
    index = yaml.safe_load((tmp_path / "zoo/metafile.yml").read_text())
    assert index["Collections"][0]["Name"] == "BilinearDecoder"
