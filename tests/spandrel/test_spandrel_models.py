"""Checkpoints load as models of spandrel, which enlarge exactly as Upscaler does."""

import importlib
import sys
from typing import Any

import pytest
import torch
from references import TINY_ENCODER, lively, picture

from moeisr_plugin import Upscaler, spandrel
from moeisr_plugin.archs.ciaosr_arch import MoEISRCiaoSR
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.checkpoints.bundled import bundled_weights
from moeisr_plugin.checkpoints.network import CheckpointError, save_checkpoint
from moeisr_plugin.spandrel.architecture import ID

# Above, the package mends torchvision, which spandrel imports.
# isort: split
from spandrel import (
    MAIN_REGISTRY,
    ArchRegistry,
    ImageModelDescriptor,
    ModelLoader,
    ModelTiling,
    UnsupportedModelError,
)
from spandrel.architectures import ESRGAN, Compact, SwinIR

LTE_SIZES: Any = {"hidden_dim": 6, "num_freq_features": 8}
NETWORKS = {
    "LIIF": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6, depth=3),
    "LTE": lambda: LTE(encoder=TINY_ENCODER, depth=3, **LTE_SIZES),
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6, expert_depths=(2, 3)),
    "MoEISRLTE": lambda: MoEISRLTE(encoder=TINY_ENCODER, expert_depths=(2, 3), **LTE_SIZES),
}
WIDE = {"type": "EDSREncoder", "num_feat": 128, "num_block": 1, "res_scale": 0.1}
ONLY_SAVED = {
    "an encoder of the toolbox": lambda: MoEISRLIIF(
        encoder={"type": "ToolboxEncoder", "arch": "MSRResNet", "params": {"num_feat": 4, "num_block": 1}},
        hidden_dim=6,
    ),
    "a wide EDSR": lambda: LTE(encoder=WIDE, **LTE_SIZES),
    "CiaoSR": lambda: MoEISRCiaoSR(encoder=TINY_ENCODER, hidden_dim=4, expert_depths=(2, 3)),
}


@pytest.fixture
def registry():
    """Return a registry of spandrel's own architectures. Copies of the main one share what is installed."""
    own = ArchRegistry()
    own.add(*(support for support in MAIN_REGISTRY if support.architecture.id != ID))
    return own


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a network whose colours and scores differ between pixels."""

    def write_network(net, name="net_g_latest.pth", **entries):
        lively(net, seed=3)
        path = tmp_path / name
        save_checkpoint(
            path, {"params": net.state_dict(), "network_g": net.hyper_parameters, "iter": 7, **entries}
        )
        return path

    return write_network


def loaded(path, registry=MAIN_REGISTRY) -> Any:
    """Return the model that `ModelLoader` makes of a file."""
    return ModelLoader(registry=registry).load_from_file(path)


def image(height=7, width=11, *, seed=0, batch=1):
    return picture(batch, height, width, seed=seed).float()


def upscaled(weights, pixels, scale, precision="float32"):
    """Return (1, 3, H, W) by the program of this package."""
    array = pixels[0].permute(1, 2, 0).float().numpy()
    enlarged = Upscaler(weights, precision=precision, device="cpu")(array, scale=scale)
    return torch.from_numpy(enlarged).permute(2, 0, 1)[None].clamp(0, 1)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", NETWORKS)
def test_files_load_through_the_registry_and_equal_upscaler(registry, write, name, suffix):
    path = write(NETWORKS[name](), f"net{suffix}")
    for scale in (2, 3, 4):
        spandrel.install(scale, registry=registry)
        model = loaded(path, registry)
        assert isinstance(model, ImageModelDescriptor)
        found = model(image())
        assert found.shape == (1, 3, 7 * scale, 11 * scale)
        expected = upscaled(path, image(), scale)
        assert expected.std() > 0.05
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", sorted(bundled_weights()))
def test_bundled_networks_load_through_the_main_registry(name):
    assert spandrel.install().scale == 4
    model = loaded(bundled_weights()[name])
    torch.testing.assert_close(model(image(5, 6)), upscaled(name, image(5, 6), 4), rtol=0, atol=1e-5)


def test_the_descriptor_states_what_programs_need(registry, write):
    architecture = spandrel.install(3, registry=registry)
    model = loaded(write(NETWORKS["MoEISRLTE"]()), registry)
    assert isinstance(model, ImageModelDescriptor)
    assert model.architecture is architecture
    assert (model.architecture.id, model.architecture.name) == (ID, "MoEISR")
    assert (model.scale, model.input_channels, model.output_channels, model.purpose) == (3, 3, 3, "SR")
    assert model.size_requirements.none
    assert model.tiling == ModelTiling.INTERNAL
    assert model.tags == ["MoEISRLTE", "EDSR", "4nf", "2 experts"]
    assert not model.model.training


def test_batches_and_the_smallest_picture(write):
    path = write(NETWORKS["MoEISRLIIF"]())
    model = spandrel.load(path, scale=2)
    both = image(5, 3, batch=2)
    separate = torch.cat([model(one[None]) for one in both])
    torch.testing.assert_close(model(both), separate, rtol=0, atol=1e-5)
    assert model(image(1, 1)).shape == (1, 3, 2, 2)


def test_averaged_weights_take_precedence(registry, write):
    spandrel.install(2, registry=registry)
    averaged = lively(NETWORKS["MoEISRLIIF"](), seed=8)
    for name in ("net.pth", "net.safetensors"):
        path = write(NETWORKS["MoEISRLIIF"](), name, params_ema=averaged.state_dict())
        model = loaded(path, registry)
        assert all(
            torch.equal(weight, averaged.state_dict()[key])
            for key, weight in model.model.net.state_dict().items()
        )
        torch.testing.assert_close(model(image()), upscaled(path, image(), 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ONLY_SAVED)
def test_saved_files_keep_hyper_parameters_that_weights_do_not_show(registry, write, tmp_path, name, suffix):
    spandrel.install(2, registry=registry)
    path, saved = write(ONLY_SAVED[name]()), tmp_path / f"saved{suffix}"
    with pytest.raises(UnsupportedModelError, match=r"^state dict: its .*moeisr_plugin\.spandrel\.save$"):
        loaded(path, registry)
    spandrel.save(path, saved)
    expected = upscaled(path, image(4, 5), 2)
    for model in (loaded(saved, registry), spandrel.load(path, scale=2)):
        torch.testing.assert_close(model(image(4, 5)), expected, rtol=0, atol=1e-5)


def test_a_damaged_description_gives_a_line(registry, write, tmp_path):
    path = write(NETWORKS["LIIF"]())
    architecture = spandrel.install(registry=registry)
    weights = ModelLoader().load_state_dict_from_file(path)
    for description in ([1, 2, 300], [123], [-5], [91, 93], [[1]]):
        with pytest.raises(UnsupportedModelError, match=r"^state dict: ") as caught:
            architecture.load({**weights, "network_g": torch.tensor(description)})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_16_bits_equal_upscaler_of_this_precision(write, name, precision):
    path, dtype = write(NETWORKS[name]()), getattr(torch, precision)
    lr = image().to(dtype)
    expected = upscaled(path, lr, 3, precision).to(dtype)
    of_descriptor, of_module = spandrel.load(path, scale=3).to(dtype), spandrel.load(path, scale=3)
    of_module.model.to(dtype=dtype)  # some programs cast the module itself
    for model in (of_descriptor, of_module):
        assert model.dtype == dtype
        found = model(lr)
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    if "LTE" in name:
        net: Any = of_descriptor.model.net
        assert net.embedding.freq.weight.dtype == torch.float32
        of_descriptor.model.double()
        assert net.embedding.freq.weight.dtype == torch.float64


def test_models_of_others_are_not_taken_and_take_none_of_these(registry, write):
    spandrel.install(registry=registry)
    own = [ModelLoader().load_state_dict_from_file(write(make())) for make in NETWORKS.values()]
    for support in registry:
        taken = [bool(support.detect(weights)) for weights in own]
        assert taken == [support.architecture.id == ID] * len(own), support.architecture.id
    for other in (
        Compact.Compact(num_feat=4, num_conv=1),
        ESRGAN.ESRGAN(num_filters=4, num_blocks=1),
        SwinIR.SwinIR(embed_dim=12, depths=(1,), num_heads=(2,)),
    ):
        assert not registry[ID].detect(other.state_dict())
    assert not registry[ID].detect({})
    assert not registry[ID].detect({0: own, "experts.0.layers.0.weight": own})


def test_installing_again_changes_the_scale_of_later_models(write):
    registry, path = ArchRegistry(), write(NETWORKS["LIIF"]())
    first = spandrel.install(2, registry=registry)
    earlier = loaded(path, registry)
    assert spandrel.install(3, registry=registry) is first
    assert len(registry) == 1
    assert (earlier.scale, loaded(path, registry).scale) == (2, 3)
    assert earlier(image()).shape == (1, 3, 14, 22)


def test_scale_1_is_a_restoration(write):
    model = spandrel.load(write(NETWORKS["LIIF"]()), scale=1)
    assert model.purpose == "Restoration"
    assert model(image()).shape == (1, 3, 7, 11)


@pytest.mark.parametrize("scale", [0, -2, 2.5, "4", True, None])
def test_scales_that_spandrel_cannot_state_are_refused(registry, scale):
    for function in (spandrel.install, lambda scale, **_: spandrel.load("tiny_LIIF", scale=scale)):
        with pytest.raises(ValueError, match="models of spandrel have a whole scale; give 1, 2, 3"):
            function(scale, registry=registry)
    assert ID not in registry


def test_bad_files_and_weights_give_one_line(write, tmp_path):
    with pytest.raises(CheckpointError, match="no such file of weights"):
        spandrel.load("nowhere")
    with pytest.raises(CheckpointError, match="no such file of weights"):
        spandrel.save("nowhere", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()
    model = spandrel.load(write(NETWORKS["LIIF"]()))
    next(model.model.net.experts.parameters()).data.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"contains NaN or Inf; its weights are damaged"):
        model(image())


def test_a_missing_package_gives_a_line(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("moeisr_plugin.spandrel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ModuleNotFoundError, match=r'install it with pip install "\.\[spandrel\]"$') as caught:
        importlib.import_module("moeisr_plugin.spandrel")
    assert "\n" not in str(caught.value)
