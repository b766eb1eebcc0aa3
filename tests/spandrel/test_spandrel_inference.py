"""Hyper-parameters of networks are inferred from their weights alone."""

import json
from typing import Any

import pytest
import torch
from references import TINY_ENCODER

from moeisr_plugin.archs.ciaosr_arch import MoEISRCiaoSR
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.checkpoints.network import build_without_pretrained
from moeisr_plugin.options.parse import read_options
from moeisr_plugin.options.shipped import shipped_options
from moeisr_plugin.spandrel.inference import REMEDY, inferred

RDN = {"type": "RDNEncoder", "num_feat": 5, "num_block": 2, "num_layer": 3, "num_grow_ch": 4}
SWINIR = {
    "type": "SwinIREncoder",
    "embed_dim": 12,
    "depths": [2, 1, 3],
    "num_heads": [2, 3, 4],
    "window_size": 4,
    "mlp_ratio": 1.5,
    "resi_connection": "3conv",
}
NETWORKS = {
    "LIIF": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6, depth=2),
    "LIIF of one latent": lambda: LIIF(encoder=RDN, hidden_dim=7, depth=4, unfold=False),
    "LIIF without cell": lambda: LIIF(encoder=SWINIR, hidden_dim=6, cell_decode=False),
    "LIIF of neither": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=5, unfold=False, cell_decode=False),
    "LTE": lambda: LTE(encoder=RDN, hidden_dim=6, depth=3, num_freq_features=10),
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=RDN, hidden_dim=6, expert_depths=(2, 4, 7)),
    "a mapper of one convolution": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6, mapper_depth=1),
    "another mapper": lambda: MoEISRLTE(
        encoder=SWINIR,
        hidden_dim=8,
        num_freq_features=6,
        expert_depths=(3, 5),
        mapper_depth=3,
        mapper_kernel_size=1,
        mapper_hidden_dim=9,
    ),
    "a mixture of one": lambda: MoEISRLTE(
        encoder=TINY_ENCODER, hidden_dim=4, num_freq_features=4, expert_depths=(3,)
    ),
}
# Weights do not show them: these act in training alone, or have their defaults.
UNSEEN = {"tau", "identity_start", "local_ensemble", "max_trained_scale"}
UNSEEN_BUT_USED = {"local_ensemble", "max_trained_scale", "res_scale", "cell_columns", "radius"}


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_give_the_options_that_built_the_network(name):
    net: Any = NETWORKS[name]()
    found = inferred(net.state_dict())
    wanted = {key: value for key, value in net.hyper_parameters.items() if key not in UNSEEN}
    if wanted.get("mapper_hidden_dim", 0) is None and wanted["mapper_depth"] > 1:
        wanted["mapper_hidden_dim"] = net.encoder.latent_channels
    encoder, built = found.pop("encoder"), wanted.pop("encoder")
    assert found == wanted
    assert encoder == {**encoder, **built}


def shipped():
    """Return the distinct networks of the option files, without CiaoSR, and SwinIR, which builds slowly."""
    paths = [path for path in shipped_options().values() if path.name.startswith("train")]
    networks = [read_options(path)["network_g"] for path in paths]
    distinct = {json.dumps(net): net for net in networks if "encoder" in net and "CiaoSR" not in net["type"]}
    return [net for net in distinct.values() if net["encoder"]["type"] != "SwinIREncoder"]


@pytest.mark.slow
def test_networks_of_shipped_option_files_are_inferred():
    networks = shipped()
    assert len(networks) >= 15
    for options in networks:
        with torch.device("meta"):
            net = build_without_pretrained(options)
            again = build_without_pretrained(inferred(net.state_dict()))
        assert type(again) is type(net)
        shapes, found = ({k: v.shape for k, v in each.state_dict().items()} for each in (net, again))
        assert found == shapes
        for built, rebuilt in ((net, again), (net.encoder, again.encoder), (net.embedding, again.embedding)):
            for key in UNSEEN_BUT_USED:
                assert getattr(rebuilt, key, None) == getattr(built, key, None), (options, key)


def test_other_encoders_and_decoders_give_a_line_with_the_remedy():
    toolbox = {"type": "ToolboxEncoder", "arch": "MSRResNet", "params": {"num_feat": 4, "num_block": 1}}
    wide = {"type": "EDSREncoder", "num_feat": 128, "num_block": 1}
    cases = {
        "its encoder is unknown, not EDSREncoder, RDNEncoder or SwinIREncoder": LIIF(encoder=toolbox),
        "its weights do not state res_scale of an EDSR with 128 channels": LIIF(encoder=wide, hidden_dim=4),
        "its decoder is neither that of LIIF nor that of LTE": MoEISRCiaoSR(
            encoder=TINY_ENCODER, hidden_dim=4
        ),
    }
    for message, net in cases.items():
        with pytest.raises(ValueError, match=message) as caught:
            inferred(net.state_dict())
        assert str(caught.value).endswith(REMEDY)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("experts.0.layers.0.weight", torch.zeros(3)),
        ("experts.0.layers.0.weight", None),
        ("mapper.0.weight", torch.zeros(3)),
        ("encoder.head.0.weight", torch.zeros(())),
    ],
)
def test_damaged_weights_give_a_line(name, value):
    weights = {**MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=4).state_dict(), name: value}
    with pytest.raises(ValueError, match=r"names or shapes|neither that of LIIF"):
        inferred(weights)
