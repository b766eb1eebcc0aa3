"""Conversion of files in the format of the published LIIF and LTE code, and errors in such files."""

from typing import Any

import pytest
import safetensors.torch
import torch
from references import Reference, picture, queries

from moeisr_plugin.archs.encoders.swinir_encoder_arch import SwinIREncoder
from moeisr_plugin.checkpoints.liif_lte import checkpoint_from
from moeisr_plugin.checkpoints.network import CheckpointError, network_from, read_checkpoint
from moeisr_plugin.cli import main

EDSR = {"n_resblocks": 2, "n_feats": 4, "res_scale": 0.5, "no_upsampling": True}


def conv(name, n_in, n_out, kernel=3):
    return {f"{name}.weight": (n_out, n_in, kernel, kernel), f"{name}.bias": (n_out,)}


def linear(name, n_in, n_out):
    return {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}


def edsr_shapes(n_resblocks=16, n_feats=64):
    shapes = {
        **conv("encoder.sub_mean", 3, 3, 1),
        **conv("encoder.add_mean", 3, 3, 1),
        **conv("encoder.head.0", 3, n_feats),
    }
    for block in range(n_resblocks):
        shapes |= conv(f"encoder.body.{block}.body.0", n_feats, n_feats)
        shapes |= conv(f"encoder.body.{block}.body.2", n_feats, n_feats)
    return shapes | conv(f"encoder.body.{n_resblocks}", n_feats, n_feats)


def rdn_shapes(width, blocks, layers, growth):
    shapes = conv("encoder.SFENet1", 3, width) | conv("encoder.SFENet2", width, width)
    for block in range(blocks):
        for layer in range(layers):
            shapes |= conv(f"encoder.RDBs.{block}.convs.{layer}.conv.0", width + layer * growth, growth)
        shapes |= conv(f"encoder.RDBs.{block}.LFF", width + layers * growth, width, 1)
    return shapes | conv("encoder.GFF.0", blocks * width, width, 1) | conv("encoder.GFF.1", width, width)


def mlp_shapes(n_in, hidden):
    widths = [n_in, *hidden, 3]
    return {
        name: shape
        for i in range(len(hidden) + 1)
        for name, shape in linear(f"imnet.layers.{2 * i}", widths[i], widths[i + 1]).items()
    }


def drawn(shapes, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) / (shape[1:].numel() if len(shape) > 1 else 4) ** 0.5
        for name, shape in ((name, torch.Size(shape)) for name, shape in shapes.items())
    }


def spec_of(decoder, encoder, encoder_args, hidden, **args) -> dict[str, Any]:
    return {
        "name": decoder,
        "args": {
            "encoder_spec": {"name": encoder, "args": encoder_args},
            "imnet_spec": {"name": "mlp", "args": {"out_dim": 3, "hidden_list": hidden}},
            **args,
        },
    }


def liif(*, in_dim=4 * 9 + 4, **args):
    spec = spec_of("liif", "edsr-baseline", dict(EDSR), [6, 6, 6], **args)
    spec["sd"] = drawn(edsr_shapes(2, 4) | mlp_shapes(in_dim, [6, 6, 6]))
    return spec


def lte():
    spec = spec_of("lte", "edsr-baseline", dict(EDSR), [6, 6], hidden_dim=8)
    lte_shapes = conv("coef", 4, 8) | conv("freq", 4, 8) | {"phase.weight": (4, 2)}
    spec["sd"] = drawn(edsr_shapes(2, 4) | lte_shapes | mlp_shapes(8, [6, 6]))
    return spec


PUBLISHED = {
    "liif": liif,
    "liif, no cell": lambda: liif(in_dim=4 * 9 + 2, cell_decode=False),
    "liif, no unfolding": lambda: liif(in_dim=4 + 4, feat_unfold=False),
    "liif, no ensemble": lambda: liif(local_ensemble=False),
    "lte": lte,
}


@pytest.fixture
def save(tmp_path):
    def save(model, name="published.pth"):
        optimizer = {"name": "adam", "args": {"lr": 1e-4}, "sd": {"state": {}, "param_groups": []}}
        torch.save({"model": model, "optimizer": optimizer, "epoch": 1000}, tmp_path / name)
        return tmp_path / name

    return save


class PublishedEDSR:
    """EDSR without upsampling in float64, computed from the named tensors of a published file."""

    def __init__(self, weights):
        self.weights = {name: tensor.double() for name, tensor in weights.items()}

    def conv(self, x, name):
        return torch.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], padding=1)

    def __call__(self, x):
        head = x = self.conv(x, "encoder.head.0")
        for block in range(2):
            inner = self.conv(x, f"encoder.body.{block}.body.0").clamp(min=0)
            x = x + self.conv(inner, f"encoder.body.{block}.body.2") * 0.5
        return head + self.conv(x, "encoder.body.2")


@pytest.mark.parametrize("model", PUBLISHED.values(), ids=PUBLISHED)
def test_converted_network_matches_the_equations_with_the_published_weights(model, save, tmp_path):
    spec = model()
    assert main(["convert", str(save(spec)), str(tmp_path / "ours.pth")]) == 0
    net = network_from(tmp_path / "ours.pth")
    reference = Reference(net)
    # The reference uses the converted options and parameters, so compare these with the file first.
    assert net.local_ensemble == spec["args"].get("local_ensemble", True)
    for name, tensor in spec["sd"].items():
        if not name.startswith("encoder."):
            ours = name.replace("imnet.", "experts.0.") if name.startswith("imnet.") else f"embedding.{name}"
            assert torch.equal(net.state_dict()[ours], tensor)
    encoder = PublishedEDSR(spec["sd"])
    lr, coord = picture(1, 5, 7), queries(1, 5, 7, 12)
    cell = torch.tensor([[2 / 13, 2 / 31]], dtype=torch.float64)
    torch.testing.assert_close(reference.encode(lr)[0], encoder(lr * 2 - 1))
    found = net(lr.float(), coord.float(), cell.float()).rgb
    torch.testing.assert_close(found.double(), reference(lr, coord, cell), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("config", "sizes"), [("A", (20, 6, 32)), ("B", (16, 8, 64))])
def test_both_configurations_of_rdn_are_converted(config, sizes, save):
    spec = spec_of("liif", "rdn", {"no_upsampling": True, "G0": 4, "RDNconfig": config}, [6])
    spec["sd"] = drawn(rdn_shapes(4, *sizes) | mlp_shapes(4 * 9 + 4, [6]))
    converted = checkpoint_from(save(spec))["params"]
    name = f"encoder.RDBs.{sizes[0] - 1}.LFF.weight"
    assert torch.equal(converted[name], spec["sd"][name])


def test_swinir_is_converted_and_its_buffers_are_recomputed(save):
    shapes = {f"encoder.{name}": value.shape for name, value in SwinIREncoder().state_dict().items()}
    spec = spec_of("lte", "swinir", {"no_upsampling": True}, [6], hidden_dim=8)
    lte_shapes = conv("coef", 64, 8) | conv("freq", 64, 8) | {"phase.weight": (4, 2)}
    weights = drawn(shapes | lte_shapes | mlp_shapes(8, [6]))
    spec["sd"] = weights
    converted = checkpoint_from(save(spec))
    assert converted["network_g"]["encoder"] == {"type": "SwinIREncoder", "padding": "published"}
    bias = "encoder.layers.5.residual_group.blocks.5.attn.relative_position_bias_table"
    assert torch.equal(converted["params"][bias], weights[bias])
    index = "encoder.layers.0.residual_group.blocks.0.attn.relative_position_index"
    assert converted["params"][index].max() == 15**2 - 1


def test_omitted_arguments_have_the_published_defaults(save):
    spec = spec_of("lte", "edsr-baseline", {"no_upsampling": True}, [256] * 3)
    lte_shapes = conv("coef", 64, 256) | conv("freq", 64, 256) | {"phase.weight": (128, 2)}
    spec["sd"] = drawn(edsr_shapes() | lte_shapes | mlp_shapes(256, [256] * 3))
    options = checkpoint_from(save(spec))["network_g"]
    assert options["encoder"] == {"type": "EDSREncoder", "num_feat": 64, "num_block": 16, "res_scale": 1.0}
    assert (options["hidden_dim"], options["depth"], options["num_freq_features"]) == (256, 4, 256)


def without(spec, name):
    del spec["sd"][name]


def reshaped(spec, name):
    spec["sd"][name] = spec["sd"][name][:-1]


WRONG = {
    "decoder": (lambda s: s.update(name="ltep"), r"model\.name is 'ltep'; supported are liif, lte"),
    "encoder": (lambda s: s["args"]["encoder_spec"].update(name="rcan"), r"encoder_spec\.name is 'rcan'"),
    "no encoder": (lambda s: s["args"].pop("encoder_spec"), r"model\.args\.encoder_spec must contain"),
    "upsampling": (
        lambda s: s["args"]["encoder_spec"]["args"].pop("no_upsampling"),
        r"args\.no_upsampling must",
    ),
    "argument": (lambda s: s["args"].update(num_layer=3), r"model\.args\.num_layer is unknown to liif"),
    "type": (lambda s: s["args"].update(cell_decode="yes"), r"model\.args\.cell_decode is 'yes'"),
    "size": (
        lambda s: s["args"]["encoder_spec"]["args"].update(n_feats=-4),
        r"encoder_spec\.args\.n_feats is -4",
    ),
    "widths": (
        lambda s: s["args"]["imnet_spec"]["args"].update(hidden_list=[6, 7]),
        r"args\.hidden_list must",
    ),
    "no widths": (
        lambda s: s["args"]["imnet_spec"]["args"].update(hidden_list=[]),
        r"args\.hidden_list must",
    ),
    "no MLP": (lambda s: s["args"].update(imnet_spec=None), r"model\.args\.imnet_spec must contain"),
    "missing": (lambda s: without(s, "imnet.layers.2.bias"), r"missing: imnet\.layers\.2\.bias"),
    "unknown": (lambda s: s["sd"].update(extra=torch.ones(1)), r"unknown: extra"),
    "shape": (
        lambda s: reshaped(s, "encoder.head.0.bias"),
        r"encoder\.head\.0\.bias \(3,\) instead of \(4,\)",
    ),
    "no tensor": (
        lambda s: s["sd"].update({"imnet.layers.0.bias": [0.0]}),
        r"imnet\.layers\.0\.bias a list instead of",
    ),
    "no weights": (lambda s: s.pop("sd"), r"has no 'params'"),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_error_in_a_file_names_the_key_in_one_line(spoil, message, save):
    spec = liif()
    spoil(spec)
    path = save(spec)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint_from(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_published_file_given_as_weights_is_reported(save):
    with pytest.raises(CheckpointError, match="run moeisr convert"):
        read_checkpoint(save(liif()))


def test_converting_formats_forth_and_back_is_lossless(save, tmp_path):
    first, second, third = (tmp_path / name for name in ("a.pth", "b.safetensors", "c.pth"))
    for source, target in [(save(liif()), first), (first, second), (second, third)]:
        assert main(["convert", str(source), str(target)]) == 0
    before, after = read_checkpoint(first), read_checkpoint(third)
    assert before.keys() == after.keys()
    assert before["network_g"] == after["network_g"]
    torch.testing.assert_close(after["params"], before["params"], rtol=0, atol=0)
    assert safetensors.torch.load_file(second).keys() == before["params"].keys()
    network_from(second)


def test_unknown_format_is_refused(save, tmp_path, capsys):
    assert main(["convert", str(save(liif())), str(tmp_path / "a.safetensor")]) == 2
    assert "use the suffix .pth or .safetensors" in capsys.readouterr().err


def test_existing_file_is_kept_without_overwrite(save, tmp_path, capsys):
    source, target = save(liif()), tmp_path / "mine.pth"
    target.write_bytes(b"mine")
    assert main(["convert", str(source), str(target)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert target.read_bytes() == b"mine"
    assert main(["convert", str(source), str(target), "--overwrite"]) == 0
    network_from(target)
