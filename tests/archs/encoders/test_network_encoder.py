"""Networks of the toolbox as encoders by description equal those that are built in."""

import pytest
import torch
from basicsr.archs import build_network

from moeisr_plugin.archs.encoders.network_encoder_arch import NetworkEncoder
from moeisr_plugin.archs.encoders.toolbox_encoder_arch import ToolboxEncoder
from moeisr_plugin.archs.implicit_arch import LIIF
from moeisr_plugin.checkpoints.network import network_from, save_checkpoint
from moeisr_plugin.render import encode, render

SWIN = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 3], "window_size": 4, "img_size": 16}
DESCRIBED = {
    "EDSR": (
        {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "img_range": 1.0},
        "upsample",
        8,
        1,
    ),
    "MSRResNet": ({"num_feat": 8, "num_block": 2}, "upconv1", 8, 1),
    "SwinIR": ({**SWIN, "upsampler": "pixelshuffle"}, "conv_before_upsample", 12, 4),
    "RCAN": (
        {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_group": 1, "num_block": 1},
        "upsample",
        16,
        1,
    ),
}


@pytest.fixture(params=DESCRIBED)
def pair(request, tmp_path):
    """An encoder by description and the built-in one, both with the weights of one full network."""
    params, before, width, window = DESCRIBED[request.param]
    torch.manual_seed(0)
    full = build_network({"type": request.param, **params})
    torch.save({"params": full.state_dict()}, tmp_path / "full.pth")
    weights = str(tmp_path / "full.pth")
    described = NetworkEncoder(
        network={"type": request.param, **params},
        before=before,
        width=width,
        window=window,
        pretrained=weights,
    )
    built_in = ToolboxEncoder(
        arch=request.param,
        params={"img_range": 255.0, **params} if request.param == "RCAN" else params,
        pretrained=weights,
    )
    return described.eval(), built_in.eval()


@pytest.mark.parametrize("size", [(5, 7), (16, 11)])
def test_features_equal_those_of_the_built_in_encoder(pair, size):
    described, built_in = pair
    lr = torch.rand(2, 3, *size) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(described(lr), built_in(lr), rtol=1e-5, atol=1e-5)
    assert getattr(built_in, "tile_grid", 1) == described.tile_grid


def test_it_renders_and_is_rebuilt_without_the_weights_of_the_full_network(tmp_path):
    params, before, width, window = DESCRIBED["SwinIR"]
    encoder = {
        "type": "NetworkEncoder",
        "network": {"type": "SwinIR", **params},
        "before": before,
        "width": width,
        "window": window,
        "cut": ["upsample", "conv_last"],
    }
    net = LIIF(encoder=encoder, hidden_dim=6, depth=2).eval()
    save_checkpoint(tmp_path / "net.pth", {"params": net.state_dict(), "network_g": net.hyper_parameters})
    again = network_from(tmp_path / "net.pth")
    lr = torch.rand(1, 3, 9, 6)
    pictures = [render(each, encode(each, lr), (20, 13)) for each in (net, again)]
    torch.testing.assert_close(*pictures, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"before": "upsampler"}, "EDSR has no 'upsampler'; it has conv_first, body"),
        ({"cut": ["tail"]}, "EDSR has no 'tail'"),
        ({"width": 9}, "the input of upsample is 8 wide, with 2x2 pixels for 2x2; width is 9"),
        ({"before": "conv_last"}, "the input of conv_last is 8 wide, with 8x8 pixels for 2x2"),
    ],
)
def test_wrong_descriptions_are_refused(change, message):
    params, before, width, _ = DESCRIBED["EDSR"]
    right = {"network": {"type": "EDSR", **params}, "before": before, "width": width}
    with pytest.raises(ValueError, match=message):
        NetworkEncoder(**{**right, **change})
