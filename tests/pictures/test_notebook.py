"""Encoded pictures and expert maps show themselves in notebooks; other arrays stay plain."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from moeisr_plugin import Upscaler
from moeisr_plugin.archs.implicit_arch import LIIF, MoEISRLIIF
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.pictures import notebook_png, shown_array
from moeisr_plugin.pictures.notebook import ShownArray

ENCODER = {"type": "EDSREncoder", "num_feat": 4, "num_block": 1}
NETWORKS = {
    "mixture": MoEISRLIIF(encoder=ENCODER, hidden_dim=8),
    "single": LIIF(encoder=ENCODER, hidden_dim=8),
}


@pytest.fixture(scope="module")
def upscalers(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("networks"), {}
    for name, net in NETWORKS.items():
        save_checkpoint(folder / name, {"params": net.state_dict(), "network_g": net.hyper_parameters})
        found[name] = Upscaler(folder / name, device="cpu")
    return found


def picture(*shape, dtype: type = np.uint8):
    values = np.random.default_rng(0).random(shape)
    return (
        (values * np.iinfo(dtype).max).astype(dtype)
        if np.issubdtype(dtype, np.integer)
        else values.astype(dtype)
    )


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("shape", [(11, 17), (11, 17, 1), (11, 17, 2), (11, 17, 3), (11, 17, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_picture_becomes_a_png_of_8_bits(shape, dtype):
    pixels = picture(*shape, dtype=dtype)
    found = decoded(notebook_png(pixels))
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    expected = np.rint(pixels.reshape(11, 17, -1) / white * 255)
    found = found.reshape(11, 17, -1)
    if expected.shape[2] <= 2 < found.shape[2]:  # grey became RGB
        expected = np.concatenate([*[expected[..., :1]] * 3, expected[..., 1:]], axis=2)
    assert np.array_equal(found, expected)


def test_large_pictures_are_reduced():
    assert decoded(notebook_png(picture(900, 1700, 3))).shape == (300, 567, 3)


def test_an_encoded_picture_shows_itself(upscalers):
    pixels = picture(11, 17, 3)
    encoded = upscalers["mixture"].encode(pixels)
    assert np.array_equal(decoded(encoded._repr_png_()), pixels)
    assert repr(encoded) == "<17x11 pixels, encoded by MoEISRLIIF>"
    assert np.array_equal(decoded(encoded.within_budget(0.5)._repr_png_()), pixels)


def test_an_expert_map_shows_itself_and_is_an_array(upscalers):
    pixels = picture(11, 17, 3)
    for found in (upscalers["mixture"].expert_map(pixels), upscalers["mixture"].encode(pixels).expert_map()):
        assert isinstance(found, ShownArray)
        assert (found.shape, found.dtype) == ((11, 17, 3), np.uint8)
        assert np.array_equal(decoded(found._repr_png_()), np.asarray(found).repeat(23, 0).repeat(23, 1))
        assert Image.fromarray(found).size == (17, 11)
        assert type(np.asarray(found)) is np.ndarray
        assert not hasattr(np.asarray(found), "_repr_png_")
    assert upscalers["single"].expert_map(pixels) is None


def test_results_stay_plain_arrays(upscalers):
    encoded = upscalers["mixture"].encode(picture(11, 17, 3))
    for result in (encoded.render(scale=2), encoded.experts(), next(iter(encoded.render_bands(scale=2)))):
        assert type(result) is np.ndarray


@pytest.mark.parametrize("part", [np.s_[0], np.s_[..., 0], np.s_[0, 0, 0:1], np.s_[:0], np.s_[..., :2]])
def test_what_is_no_picture_is_not_shown_as_one(part):
    shown: Any = shown_array(picture(11, 17, 3))
    assert shown[part]._repr_png_() is None
    assert shown.astype(float)._repr_png_() is None
    assert shown[2:5, 3:9]._repr_png_() is not None
