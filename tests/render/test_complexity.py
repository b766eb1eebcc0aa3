"""MACs match sums written out, and operators counted while rendering."""

import json

import numpy as np
import pytest
import torch
from mmengine.analysis import get_model_complexity_info
from PIL import Image
from references import TINY_ENCODER, lively, picture
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.cli import main
from moeisr_plugin.ops import linear as linear_module
from moeisr_plugin.ops.linear import linear
from moeisr_plugin.pictures import to_layers
from moeisr_plugin.render import complexity, convolutions
from moeisr_plugin.render.convolutions import WinogradConvolutions

LATENT = {"type": "EDSREncoder", "num_block": 1}  # 64 channels, as all encoders of the paper have

NETWORKS = {
    "LIIF": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "LIIF, bare": lambda: LIIF(encoder=TINY_ENCODER, unfold=False, cell_decode=False, local_ensemble=False),
    "LTE": lambda: LTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "MoEISRLTE": lambda: MoEISRLTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8, mapper_depth=2),
}


@pytest.mark.parametrize(
    ("net", "macs"),
    [
        (lambda: LIIF(encoder=LATENT), [345_856]),
        (lambda: LTE(encoder=LATENT), [197_376]),
        (lambda: MoEISRLIIF(encoder=LATENT), [149_248, 214_784, 280_320, 345_856]),
        (lambda: MoEISRLIIF(encoder=LATENT, hidden_dim=128), [74_624, 91_008, 107_392, 123_776]),
        (lambda: MoEISRLTE(encoder=LATENT), [66_304, 131_840, 197_376]),
        (lambda: MoEISRLTE(encoder=LATENT, hidden_dim=128), [33_152, 49_536, 65_920]),
    ],
)
def test_macs_of_experts_match_the_paper(net, macs):
    assert [expert.macs() for expert in net().expert_list] == macs


@pytest.mark.parametrize("size", [(10, 14), (12, 11), (23, 40), (5, 7)])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_executed_macs_match_those_counted_while_rendering(make, size, monkeypatch):
    net = lively(make()).eval()
    encoding = render.encode(net, picture(1, 5, 7).float())
    choice = render.expert_map(encoding)[0]
    if len(net.experts) > 1:
        assert len(choice.unique()) > 1
    macs = complexity.executed_macs(net, complexity.workload(net, choice, size))
    assert macs - complexity.mapper_macs(net, (5, 7)) == complexity.count_macs(
        lambda: render.render(net, encoding, size)
    )
    monkeypatch.setattr(linear_module, "onednn_is_faster", lambda *_: False)  # torch does not count oneDNN
    with FlopCounterMode(display=False) as counter:
        render.render(net, encoding, size)
    assert macs - complexity.mapper_macs(net, (5, 7)) == counter.get_total_flops() / 2


@torch.inference_mode()
def test_macs_do_not_depend_on_the_backend(monkeypatch):
    features, weight = torch.randn(5, 7, 64), torch.randn(3, 64)
    assert complexity.count_macs(lambda: linear(features, weight)) == 5 * 7 * 64 * 3
    monkeypatch.setattr(convolutions, "winograd_is_faster", lambda _: convolutions._has_nnpack())
    conv, lr = nn.Conv2d(64, 70, 3, padding=1), torch.randn(1, 64, 9, 11)
    with WinogradConvolutions():
        assert complexity.count_macs(lambda: conv(lr)) == 64 * 9 * 70 * 9 * 11


def test_published_macs_match_a_loop_over_queries():
    net = lively(NETWORKS["MoEISRLIIF"]()).eval()
    choice = torch.tensor([[0, 1, 2], [3, 0, 1]])
    size = (7, 8)
    expected = 4 * 4 * 9 * 4 * 6 + 4 * 9 * 4 * 6  # the mapper: 4 convolutions to 4 channels, 1 to 4 experts
    for i in range(7):
        for j in range(8):
            y, x = (2 * i + 1) / 7 * 2 / 2, (2 * j + 1) / 8 * 3 / 2  # in LR pixels
            for row in (int(y - 0.5 + 1) - 1, int(y - 0.5 + 1)):
                for column in (int(x - 0.5 + 1) - 1, int(x - 0.5 + 1)):
                    chosen = choice[min(max(row, 0), 1), min(max(column, 0), 2)]
                    expected += (4 * 9 + 4) * 6 + int(chosen) * 6 * 6 + 6 * 3
    assert complexity.published_macs(net, complexity.workload(net, choice, size)) == expected


def test_macs_of_a_routing_lie_between_the_extremes():
    net = lively(NETWORKS["MoEISRLTE"]()).eval()
    choice = render.expert_map(render.encode(net, picture(1, 6, 9).float()))[0]
    works = [*complexity.extreme_workloads(net, (6, 9), (15, 20)), complexity.workload(net, choice, (15, 20))]
    for count in (complexity.published_macs, complexity.executed_macs):
        lowest, highest, routed = (count(net, work) for work in works)
        assert lowest < routed < highest


@pytest.mark.parametrize("lr_size", [(8, 8), (5, 11)])
def test_encoder_macs_match_mmengine(lr_size):
    net = NETWORKS["LIIF"]()
    counted = get_model_complexity_info(net.encoder, (3, *lr_size), show_table=False, show_arch=False)
    assert complexity.encoder_macs(net, lr_size) == counted["flops"]


def test_parameters_are_counted_by_part():
    net = NETWORKS["MoEISRLTE"]()
    parts = complexity.parameters(net)
    assert list(parts) == ["encoder", "embedding", "experts", "mapper"]
    assert sum(parts.values()) == sum(parameter.numel() for parameter in net.parameters())


def test_the_command_counts_the_network_of_an_option_file(tmp_path, capsys):
    options = tmp_path / "options.yml"
    options.write_text("network_g: {type: MoEISRLIIF, encoder: {type: EDSREncoder, num_block: 1}}")
    arguments = ["complexity", "-opt", str(options), "--lr-size", "9x6", "--scale", "2x3.5"]
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["lr_size"], report["output_size"]) == ([6, 9], [21, 18])
    assert list(report["decoder_macs"]) == ["shallowest", "deepest"]
    mapper = (4 * 64 * 64 * 9 + 64 * 4 * 9) * 54
    assert report["decoder_macs"]["deepest"]["as_published"] == 4 * 18 * 21 * 345_856 + mapper
    assert main(arguments) == 0
    assert "all deepest" in capsys.readouterr().out


def test_the_command_counts_the_routing_of_a_picture(tmp_path, photographs, capsys):
    net = lively(NETWORKS["MoEISRLIIF"]())
    weights = tmp_path / "net.pth"
    save_checkpoint(weights, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    image = photographs / "chelsea.png"
    assert (
        main(["complexity", "--weights", str(weights), "--image", str(image), "--scale", "2", "--json"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    routed = report["decoder_macs"]["routed"]
    assert report["lr_size"] == [111, 97]
    assert sum(routed["lr_pixels"]) == 111 * 97
    assert routed["as_published"] < report["decoder_macs"]["deepest"]["as_published"]


def test_all_layers_of_a_rotated_image_are_counted(tmp_path, capsys):
    net = lively(NETWORKS["MoEISRLIIF"]())
    weights = tmp_path / "net.pth"
    save_checkpoint(weights, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    pixels = np.random.default_rng(0).integers(0, 256, (13, 22, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    command = ["complexity", "--weights", str(weights), "--image", str(tmp_path / "turned.png"), "--json"]
    assert main([*command, "--scale", "2x3.5"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["lr_size"], report["output_size"], report["layers"]) == ([22, 13], [77, 26], 2)
    works = []
    for layer in to_layers(pixels):
        encoding = render.encode(net, torch.from_numpy(layer).permute(2, 0, 1)[None])
        works.append(complexity.workload(net, render.expert_map(encoding)[0], (26, 77)))
    executed = sum(complexity.executed_macs(net, work) for work in works)
    assert report["decoder_macs"]["routed"]["as_executed"] == executed
    assert report["encoder_macs"] == 2 * complexity.encoder_macs(net, (13, 22))
    assert sum(report["decoder_macs"]["routed"]["lr_pixels"]) == 2 * 13 * 22
    assert report["decoder_macs"]["shallowest"]["as_executed"] < executed


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("network_g: {type: Nothing, encoder: {type: EDSREncoder}}", "Nothing"),
        ("network_g: {type: LIIF, encoder: {type: EDSREncoder}, widht: 3}", "widht"),
        ("network_g: {type: EDSREncoder, encoder: {}}", "network_g.type: is EDSREncoder; give LIIF, LTE"),
        ("network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3}", "network_g.type: is EDSR; give LIIF, LTE"),
        (
            "network_g: {type: LIIF, encoder: EDSREncoder}",
            "network_g.encoder: is 'EDSREncoder'; give a section with a type",
        ),
        ("network_g: {type: LIIF}", "network_g.encoder: missing; give a section with a type"),
        (
            "network_g: {type: LIIF, encoder: {type: EDSREncoder, num_feat: none}}",
            "network_g.encoder.num_feat: is 'none'; give a whole number of at least 1",
        ),
        ("name: nothing", "has no network_g"),
        ("{", "not valid YAML"),
    ],
)
def test_options_without_a_network_are_refused(text, complaint, tmp_path, capsys):
    (tmp_path / "options.yml").write_text(text)
    assert main(["complexity", "-opt", str(tmp_path / "options.yml")]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_a_picture_needs_weights(tmp_path, photographs, capsys):
    (tmp_path / "options.yml").write_text("network_g: {type: LIIF, encoder: {type: EDSREncoder}}")
    picture_of = str(photographs / "chelsea.png")
    assert main(["complexity", "-opt", str(tmp_path / "options.yml"), "--image", picture_of]) == 2
    assert "needs --weights" in capsys.readouterr().err
