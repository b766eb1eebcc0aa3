"""Encoders against the equations of their papers and against the toolbox's own networks."""

import copy
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from moeisr_plugin.archs.encoders.edsr_encoder_arch import EDSREncoder
from moeisr_plugin.archs.encoders.encoder_interface import Encoder
from moeisr_plugin.archs.encoders.padding import pad_to_multiple
from moeisr_plugin.archs.encoders.rdn_encoder_arch import RDNEncoder
from moeisr_plugin.archs.encoders.swinir_encoder_arch import SwinIREncoder
from moeisr_plugin.archs.encoders.toolbox_encoder_arch import FAMILIES, ToolboxEncoder

TINY_SWINIR = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 3], "window_size": 4, "mlp_ratio": 2.0}
TINY_TOOLBOX = {
    "EDSR": {"num_feat": 8, "num_block": 2, "res_scale": 0.5, "img_range": 255.0},
    "RCAN": {"num_feat": 8, "num_group": 2, "num_block": 1, "squeeze_factor": 4, "img_range": 1.0},
    "MSRResNet": {"num_feat": 8, "num_block": 2},
    "RRDBNet": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4},
    "SwinIR": {**TINY_SWINIR, "img_size": 16, "upsampler": "pixelshuffle", "upscale": 2},
}


def tiny_edsr():
    return EDSREncoder(num_feat=4, num_block=2, res_scale=0.5)


def tiny_rdn():
    return RDNEncoder(num_feat=4, num_block=2, num_layer=3, num_grow_ch=5)


def tiny_swinir():
    return SwinIREncoder(**TINY_SWINIR)


def tiny_toolbox(arch):
    return lambda: ToolboxEncoder(arch=arch, params=TINY_TOOLBOX[arch])


TINY = {
    "EDSREncoder": tiny_edsr,
    "RDNEncoder": tiny_rdn,
    "SwinIREncoder": tiny_swinir,
    **{arch: tiny_toolbox(arch) for arch in FAMILIES},
}
LOCAL = ["EDSREncoder", "RDNEncoder", "EDSR", "MSRResNet", "RRDBNet"]
WIDTHS = {"EDSREncoder": 4, "RDNEncoder": 4, "SwinIREncoder": 64, "SwinIR": 12}


def image(height, width, *, batch=1, dtype=torch.float64):
    """RGB in [-1, 1]."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(batch, 3, height, width, generator=generator, dtype=dtype) * 2 - 1


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


# --- the equations ---


def conv(weights, name, x):
    weight = weights[f"{name}.weight"]
    return F.conv2d(x, weight, weights[f"{name}.bias"], padding=weight.shape[-1] // 2)


@pytest.mark.parametrize("size", [(13, 7), (1, 5)])
def test_edsr_follows_the_equations(size):
    encoder, lr = tiny_edsr().double(), image(*size)
    weights = encoder.state_dict()
    shallow = conv(weights, "head.0", lr)
    x = shallow
    for block in ("body.0.body", "body.1.body"):
        x = x + 0.5 * conv(weights, f"{block}.2", conv(weights, f"{block}.0", x).clamp(min=0))
    torch.testing.assert_close(encoder(lr), shallow + conv(weights, "body.2", x))


@pytest.mark.parametrize("size", [(13, 7), (1, 5)])
def test_rdn_follows_the_equations(size):
    encoder, lr = tiny_rdn().double(), image(*size)
    weights = encoder.state_dict()
    first = conv(weights, "SFENet1", lr)
    x = conv(weights, "SFENet2", first)
    fused = []
    for block in ("RDBs.0", "RDBs.1"):
        dense = [x]
        for layer in range(3):
            dense.append(conv(weights, f"{block}.convs.{layer}.conv.0", torch.cat(dense, 1)).clamp(min=0))
        x = x + conv(weights, f"{block}.LFF", torch.cat(dense, 1))
        fused.append(x)
    expected = first + conv(weights, "GFF.1", conv(weights, "GFF.0", torch.cat(fused, 1)))
    torch.testing.assert_close(encoder(lr), expected)


@pytest.mark.parametrize("size", [(24, 24), (13, 7), (4, 12), (17, 40)])
def test_swinir_is_the_toolbox_network_up_to_its_upsampling(size):
    """24 is the size whose masks are kept, the others have theirs made; 13×7 is padded and cropped."""
    encoder, lr = tiny_swinir().double().eval(), image(*size)
    toolbox: Any = FAMILIES["SwinIR"].network(img_size=8, upsampler="pixelshuffle", **TINY_SWINIR)
    toolbox.double().eval()
    shared = {name: value for name, value in encoder.state_dict().items() if not name.endswith("attn_mask")}
    assert not toolbox.load_state_dict(shared, strict=False).unexpected_keys
    toolbox.mean.zero_()
    height, width = size
    padded = F.pad(lr, (0, -width % 4, 0, -height % 4), "reflect")
    expected = tapped(toolbox, "upsample", padded)[:, :, :height, :width]
    torch.testing.assert_close(encoder(lr), expected)


def tapped(net, name, x):
    """The input of a network's module `name` while the network takes `x`."""
    inputs = []
    with (
        getattr(net, name).register_forward_pre_hook(lambda _, args: inputs.append(args[0])),
        torch.no_grad(),
    ):
        net(x)
    return inputs[0]


# --- published layouts ---


def test_default_edsr_has_the_published_layout():
    encoder = EDSREncoder()
    layers = ["head.0", "body.16", *(f"body.{i}.body.{j}" for i in range(16) for j in (0, 2))]
    assert set(encoder.state_dict()) == {f"{name}.{kind}" for name in layers for kind in ("weight", "bias")}
    assert sum(p.numel() for p in encoder.parameters()) == 27 * 64 + 64 + 33 * (9 * 64 * 64 + 64)
    assert (encoder.latent_channels, encoder.halo) == (64, 34)


def test_default_rdn_has_the_published_layout():
    encoder = RDNEncoder()
    layers = ["SFENet1", "SFENet2", "GFF.0", "GFF.1", *(f"RDBs.{d}.LFF" for d in range(16))]
    layers += [f"RDBs.{d}.convs.{c}.conv.0" for d in range(16) for c in range(8)]
    assert set(encoder.state_dict()) == {f"{name}.{kind}" for name in layers for kind in ("weight", "bias")}
    dense = sum(9 * 64 * (64 + 64 * c) + 64 for c in range(8)) + 576 * 64 + 64
    rest = (27 * 64 + 64) + 2 * (9 * 64 * 64 + 64) + (1024 * 64 + 64)
    assert sum(p.numel() for p in encoder.parameters()) == 16 * dense + rest
    assert (encoder.latent_channels, encoder.halo) == (64, 1 + 1 + 16 * 8 + 1)


def test_default_swinir_has_the_published_layout():
    encoder = SwinIREncoder()
    state = encoder.state_dict()
    roots = {"conv_first", "patch_embed", "layers", "norm", "conv_after_body", "conv_before_upsample"}
    assert {name.partition(".")[0] for name in state} == roots
    masks = {name for name in state if name.endswith("attn_mask")}
    assert masks == {f"layers.{i}.residual_group.blocks.{j}.attn_mask" for i in range(6) for j in (1, 3, 5)}
    assert {tuple(state[name].shape) for name in masks} == {(36, 64, 64)}
    assert tuple(state["conv_before_upsample.0.weight"].shape) == (64, 180, 3, 3)
    block = 4 * 180 + (180 * 540 + 540) + (180 * 180 + 180) + 15 * 15 * 6 + 2 * 180 * 360 + 360 + 180
    body = 36 * block + 7 * (9 * 180 * 180 + 180)
    ends = (27 * 180 + 180) + 4 * 180 + (9 * 180 * 64 + 64)
    assert sum(p.numel() for p in encoder.parameters()) == body + ends
    assert (encoder.latent_channels, encoder.halo) == (64, None)


# --- what holds for every encoder ---


@pytest.mark.parametrize("name", TINY)
def test_any_size_gives_a_latent_of_the_stated_width(name):
    encoder = TINY[name]().eval()
    assert isinstance(encoder, Encoder)
    assert encoder.latent_channels == WIDTHS.get(name, 8)
    for height, width in [(1, 1), (1, 5), (2, 3), (13, 10)]:
        latent = encoder(image(height, width, batch=2, dtype=torch.float32))
        assert latent.shape == (2, encoder.latent_channels, height, width)
        assert latent.isfinite().all()


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_is_trained(name):
    """A parameter of the cut tail, left behind, would stop distributed training."""
    encoder = TINY[name]().train()
    latent = encoder(image(13, 10, batch=2, dtype=torch.float32))
    (latent * torch.randn_like(latent)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in encoder.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("name", TINY)
def test_a_copy_in_half_precision_stays_in_half_precision(name):
    encoder = copy.deepcopy(TINY[name]()).to(torch.bfloat16)
    assert encoder(image(13, 10).bfloat16()).dtype is torch.bfloat16


@pytest.mark.parametrize("name", LOCAL)
def test_halo_is_the_exact_reach(name):
    """With positive weights no contribution cancels: the gradient shows all that a latent pixel sees."""
    encoder = TINY[name]().double()
    for parameter in encoder.parameters():
        parameter.data.abs_()
    centre = encoder.halo + 2
    lr = torch.full((1, 3, 2 * centre + 1, 2 * centre + 1), 3.0, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder(lr)[0, :, centre, centre].sum(), lr)
    seen = gradient[0].abs().amax(0) > 0
    expected = torch.zeros_like(seen)
    expected[2:-2, 2:-2] = True
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("name", LOCAL)
def test_a_tile_with_its_halo_gives_the_latent_of_the_whole_image(name):
    encoder = TINY[name]().double()
    halo, lr = encoder.halo, image(43, 31)
    whole = encoder(lr)
    for top, left in [(0, 0), (halo + 1, 11), (40, 28)]:
        rows = slice(max(top - halo, 0), top + 3 + halo)
        columns = slice(max(left - halo, 0), left + 3 + halo)
        tile = encoder(lr[:, :, rows, columns])
        tile = tile[:, :, top - rows.start :, left - columns.start :][:, :, :3, :3]
        torch.testing.assert_close(tile, whole[:, :, top : top + 3, left : left + 3])


def test_attention_has_no_halo():
    assert [TINY[name]().halo for name in ("SwinIREncoder", "SwinIR", "RCAN")] == [None] * 3


def test_names_are_registered_beside_those_of_the_toolbox():
    from basicsr.utils.registry import ARCH_REGISTRY

    for encoder in (EDSREncoder, RDNEncoder, SwinIREncoder, ToolboxEncoder):
        assert ARCH_REGISTRY.get(encoder.__name__) is encoder
    for arch, family in FAMILIES.items():
        assert ARCH_REGISTRY.get(arch) is family.network


# --- windows ---


def test_padding_is_reflection_where_that_is_possible():
    lr = image(5, 9)
    torch.testing.assert_close(pad_to_multiple(lr, 8), F.pad(lr, (0, 7, 0, 3), "reflect"), rtol=0, atol=0)
    torch.testing.assert_close(pad_to_multiple(image(8, 16), 8), image(8, 16), rtol=0, atol=0)


def test_padding_of_images_smaller_than_the_padding():
    row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    expected = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0]).expand(1, 1, 8, 8)
    torch.testing.assert_close(pad_to_multiple(row, 8), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depths": [2]}, "differ in length"),
        ({"num_heads": [2, 5]}, "must each divide embed_dim 12"),
        ({"resi_connection": "2conv"}, "'1conv' or '3conv', not '2conv'"),
    ],
)
def test_swinir_names_wrong_options(change, message):
    with pytest.raises(ValueError, match=message):
        SwinIREncoder(**{**TINY_SWINIR, **change})


# --- the toolbox's networks ---


def full_network(arch) -> Any:
    outputs = {} if arch == "SwinIR" else {"num_in_ch": 3, "num_out_ch": 3}
    return FAMILIES[arch].network(**outputs, **TINY_TOOLBOX[arch])


def own_features(arch, net, rgb):
    """What the toolbox's full network hands to its upsampling; `rgb` in [0, 1]."""
    height, width = rgb.shape[-2:]
    if arch == "SwinIR":
        padded = F.pad(rgb, (0, -width % 4, 0, -height % 4), "reflect")
        return tapped(net, "conv_before_upsample", padded)[:, :, :height, :width]
    if arch == "RRDBNet":  # its first step is to repeat each pixel
        return tapped(net, "conv_up1", rgb)[:, :, ::2, ::2]
    return tapped(net, "upconv1" if arch == "MSRResNet" else "upsample", rgb)


@pytest.mark.parametrize("arch", FAMILIES)
@pytest.mark.parametrize("form", ["params", "params_ema", "state_dict", None])
def test_a_full_checkpoint_gives_the_toolbox_features(arch, form, tmp_path):
    net = full_network(arch)
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    torch.save(state if form is None else {form: state}, tmp_path / "full.pth")
    encoder = ToolboxEncoder(arch=arch, params=TINY_TOOLBOX[arch], pretrained=str(tmp_path / "full.pth"))
    encoder, net, lr = encoder.double().eval(), net.double().eval(), image(13, 10)
    torch.testing.assert_close(encoder(lr), own_features(arch, net, (lr + 1) / 2))


def test_a_full_network_in_safetensors_will_do(tmp_path):
    net = full_network("MSRResNet")
    safetensors.torch.save_file(net.state_dict(), tmp_path / "full.safetensors")
    path = str(tmp_path / "full.safetensors")
    encoder = ToolboxEncoder(arch="MSRResNet", params=TINY_TOOLBOX["MSRResNet"], pretrained=path)
    for name, value in encoder.net.state_dict().items():
        assert torch.equal(value, net.state_dict()[name]), name


def test_param_key_chooses_between_averaged_and_plain_weights(tmp_path):
    plain, averaged = full_network("MSRResNet"), full_network("MSRResNet")
    path = str(tmp_path / "both.pth")
    torch.save({"params": plain.state_dict(), "params_ema": averaged.state_dict()}, path)
    for key, net in ((None, averaged), ("params_ema", averaged), ("params", plain)):
        encoder = ToolboxEncoder(
            arch="MSRResNet", params=TINY_TOOLBOX["MSRResNet"], pretrained=path, param_key=key
        )
        assert torch.equal(encoder.state_dict()["net.conv_first.weight"], net.conv_first.weight)


def test_swinir_checkpoints_of_another_training_size_and_upsampling_fit(tmp_path):
    torch.save({"params": full_network("SwinIR").state_dict()}, tmp_path / "full.pth")
    params = {**TINY_TOOLBOX["SwinIR"], "img_size": 24, "upsampler": "nearest+conv", "upscale": 4}
    encoder = ToolboxEncoder(arch="SwinIR", params=params, pretrained=str(tmp_path / "full.pth"))
    assert encoder(image(8, 8, dtype=torch.float32)).shape == (1, 12, 8, 8)


@pytest.mark.parametrize(
    ("arch", "params", "message"),
    [
        ("EDRS", {}, "no arch 'EDRS'; choose one of EDSR, RCAN, MSRResNet, RRDBNet, SwinIR$"),
        (
            "EDSR",
            {"n_feats": 64},
            "EDSR has no parameter 'n_feats'; it takes num_in_ch, num_out_ch, num_feat",
        ),
        ("SwinIR", {"windows": 8}, "SwinIR has no parameter 'windows'; it takes img_size"),
        ("RRDBNet", {"scale": 2}, "RRDBNet is an encoder with scale 4 only, not 2"),
        ("SwinIR", {"ape": True}, "ape False only"),
        ("MSRResNet", {"upscale": 5}, "no MSRResNet with {'upscale': 5}: "),
        ("SwinIR", {"window_size": 7}, "no SwinIR with {'window_size': 7}: "),
    ],
)
def test_wrong_archs_and_params_are_named_in_one_line(arch, params, message):
    with pytest.raises(ValueError, match=message) as caught:
        ToolboxEncoder(arch=arch, params=params)
    assert "\n" not in str(caught.value)


def removed(state):
    return {name: value for name, value in state.items() if name != "body.1.conv2.bias"}


def deeper(state):
    return {**state, "body.2.conv1.weight": state["body.1.conv1.weight"]}


def wider(state):
    return {**state, "conv_first.weight": torch.zeros(16, 3, 3, 3)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            lambda state: {"params": removed(state)},
            r"full\.pth: does not fit MSRResNet .*; missing: body\.1\.conv2\.bias$",
        ),
        (lambda state: {"params": deeper(state)}, r"; unknown: body\.2\.conv1\.weight$"),
        (
            lambda state: {"params": wider(state)},
            r"conv_first\.weight \(16, 3, 3, 3\) instead of \(8, 3, 3, 3\)",
        ),
        (lambda state: {"params": {}}, r"missing: conv_first\.weight, .* and 6 more$"),
        (lambda state: {"params": [1, 2]}, "holds no named tensors; name their entry by param_key"),
        (lambda state: {"iter": 5}, "holds no named tensors"),
        (lambda state: state["conv_first.weight"], "holds no named tensors"),
        (lambda state: torch.nn.Conv2d(3, 3, 3), "not a readable checkpoint"),
    ],
)
def test_checkpoints_that_do_not_fit_are_named_in_one_line(content, message, tmp_path):
    torch.save(content(full_network("MSRResNet").state_dict()), tmp_path / "full.pth")
    with pytest.raises(ValueError, match=message) as caught:
        ToolboxEncoder(
            arch="MSRResNet", params=TINY_TOOLBOX["MSRResNet"], pretrained=str(tmp_path / "full.pth")
        )
    assert "\n" not in str(caught.value)


def test_files_that_are_no_checkpoints_are_named(tmp_path):
    path = tmp_path / "full.pth"
    torch.save({"params": full_network("MSRResNet").state_dict()}, path)
    truncated = path.read_bytes()[:2000]
    for content in (truncated, b"", b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"full\.pth: not a readable checkpoint"):
            ToolboxEncoder(arch="MSRResNet", pretrained=str(path))
    with pytest.raises(ValueError, match=r"absent\.pth: no such file of weights"):
        ToolboxEncoder(arch="MSRResNet", pretrained=str(tmp_path / "absent.pth"))


def test_a_missing_entry_is_named(tmp_path):
    torch.save({"params": {}}, tmp_path / "full.pth")
    with pytest.raises(ValueError, match=r"no entry 'params_ema'; param_key can be params$"):
        ToolboxEncoder(arch="MSRResNet", pretrained=str(tmp_path / "full.pth"), param_key="params_ema")


@pytest.mark.parametrize("arch", ["EDSR", "RCAN"])
def test_pretrained_weights_need_their_image_range(arch, tmp_path):
    """At another range than they were trained with, their features would be silently wrong."""
    with pytest.raises(ValueError, match="does not tell the img_range it was trained with"):
        ToolboxEncoder(arch=arch, pretrained=str(tmp_path / "full.pth"))
