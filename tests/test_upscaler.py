"""The Python interface for enlarging pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt

from moeisr_plugin import Upscaler, render
from moeisr_plugin.archs.implicit_arch import LIIF, MoEISRLIIF
from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.checkpoints.network import CheckpointError, read_checkpoint, save_checkpoint
from moeisr_plugin.render.bounds import colour_bounds
from moeisr_plugin.upscaler import enlarged_size

ENCODER = {"type": "EDSREncoder", "num_feat": 8, "num_block": 1}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    net = MoEISRLIIF(encoder=ENCODER, hidden_dim=8)
    path = tmp_path_factory.mktemp("weights") / "net_g_latest.pth"
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return path


@pytest.fixture(scope="module")
def upscaler(weights):
    return Upscaler(weights, device="cpu")


def picture(*shape, dtype=np.uint8):
    values = np.random.default_rng(0).random(shape)
    return values if dtype == np.float64 else (values * np.iinfo(dtype).max).astype(dtype)


def test_8_bit_output_is_the_rendered_colour_clipped_and_rounded(upscaler):
    image = picture(7, 12, 3)
    lr = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    colours = 3 * render.render(upscaler.net, render.encode(upscaler.net, lr), (26, 44)) - 1  # beyond [0, 1]
    original = render.render_bands
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "render_bands", lambda *a: (3 * band - 1 for band in original(*a)))
        enlarged = upscaler(image, size=(26, 44))
    bounded = colour_bounds(lr).clamp(colours, first_row=0, size=(26, 44))
    expected = np.rint(np.clip(bounded[0].permute(1, 2, 0).numpy(), 0, 1) * 255)
    assert enlarged.min() == 0
    assert enlarged.max() == 255
    np.testing.assert_array_equal(enlarged, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("shape", [(7, 12), (7, 12, 1), (7, 12, 2), (7, 12, 3), (7, 12, 4)])
def test_channels_and_type_are_kept(upscaler, shape, dtype):
    enlarged = upscaler(picture(*shape, dtype=dtype), scale=3.7)
    assert enlarged.shape == (26, 44, *shape[2:])
    assert enlarged.dtype == dtype


def test_rgb_matches_the_rendered_network_output(upscaler):
    image = picture(9, 5, 3)
    lr = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    expected = render.render(upscaler.net, render.encode(upscaler.net, lr), (18, 18))[0]
    expected = expected.clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(upscaler(image, scale=(2, 3.5)), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("shape", [(7, 12), (7, 12, 2), (7, 12, 3), (7, 12, 4)])
def test_bands_join_to_the_whole_picture(upscaler, monkeypatch, shape, dtype):
    encoded = upscaler.encode(picture(*shape, dtype=dtype))
    whole = encoded.render(scale=(3.7, 2.5))

    def fours(net, encoding, size, window):
        yield from render.render(net, encoding, size, window).split(4, dim=2)

    monkeypatch.setattr(render, "render_bands", fours)
    bands = list(encoded.render_bands(scale=(3.7, 2.5)))
    assert [len(band) for band in bands] == [4, 4, 4, 4, 4, 4, 2]
    assert all(band.dtype == dtype for band in bands)
    np.testing.assert_array_equal(np.concatenate(bands), whole)
    np.testing.assert_array_equal(encoded.render(scale=(3.7, 2.5)), whole)


def test_layers_with_bands_of_different_heights_are_refused(upscaler, monkeypatch):
    encoded = upscaler.encode(picture(7, 12, 4))
    heights = iter([9, 3])
    monkeypatch.setattr(
        render,
        "render_bands",
        lambda net, encoding, size, _: iter([torch.zeros(1, 3, next(heights), size[1])]),
    )
    with pytest.raises(ValueError, match="layers have different shapes"):
        next(encoded.render_bands(scale=2))


def test_wrong_size_is_refused_before_the_first_band(upscaler):
    with pytest.raises(ValueError, match="smaller than the picture"):
        upscaler.encode(picture(6, 8, 3)).render_bands(size=(5, 8))


def test_encoded_picture_renders_many_sizes_without_the_encoder(upscaler, monkeypatch):
    encoded = upscaler.encode(picture(6, 8, 4))
    monkeypatch.setattr(upscaler.net.encoder, "forward", None)
    assert encoded.render(size=(13, 29)).shape == (13, 29, 4)
    assert encoded.render(scale=2).shape == (12, 16, 4)
    assert encoded.expert_map().shape == (6, 8, 3)


def test_network_with_one_expert_has_no_expert_map(tmp_path):
    net = LIIF(encoder=ENCODER, hidden_dim=8)
    save_checkpoint(tmp_path / "liif.pth", {"params": net.state_dict(), "network_g": net.hyper_parameters})
    assert Upscaler(tmp_path / "liif.pth", device="cpu").expert_map(picture(6, 8, 3)) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either scale or size"),
        ({"scale": 2, "size": (20, 20)}, "give either scale or size"),
        ({"scale": 0.5}, "at least 1"),
        ({"scale": float("nan")}, "at least 1"),
        ({"scale": (2, 0)}, "at least 1"),
        ({"scale": (2,)}, "two for y and x"),
        ({"scale": "2"}, "at least 1"),
        ({"size": (9, 100)}, "smaller than the picture"),
        ({"size": (20.0, 30.0)}, "two whole numbers, height and width"),
        ({"size": 20}, "two whole numbers, height and width"),
    ],
)
def test_wrong_scales_and_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        enlarged_size(10, 10, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": np.float32(2.5)},
        {"scale": [2.5, np.float64(2.5)]},
        {"scale": np.array([2.5, 2.5])},
        {"size": [25, 50]},
        {"size": np.array([25, 50])},
    ],
)
def test_numpy_scales_and_sizes_are_accepted(arguments):
    size = enlarged_size(10, 20, **arguments)
    assert size == (25, 50)
    assert all(type(side) is int for side in size)


def test_budget_matches_the_engine_and_leaves_the_original_unchanged(upscaler):
    image = picture(9, 5, 3)
    encoded = upscaler.encode(image)
    free = encoded.render(scale=2)
    lr = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    for budget in (0.0, 0.3, 1.0):
        encoding = render.within_budget(upscaler.net, render.encode(upscaler.net, lr), budget)
        expected = render.render(upscaler.net, encoding, (18, 10))[0].clamp(0, 1).mul(255).round()
        bounded = encoded.within_budget(budget).render(scale=2)
        np.testing.assert_array_equal(bounded, expected.permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(encoded.render(scale=2), free)


def test_budget_applies_to_colour_and_alpha(upscaler):
    encoded = upscaler.encode(picture(9, 5, 4))
    shallow, deep = (encoded.within_budget(budget) for budget in (0, 1))
    assert (shallow.expert_map() != deep.expert_map()).any(axis=2).all()
    for c in (0, 3):
        assert (shallow.render(scale=2)[..., c] != deep.render(scale=2)[..., c]).any()


@pytest.mark.parametrize(
    ("precision", "remedy"), [("float32", "damaged$"), ("float16", "try precision float32")]
)
def test_network_that_outputs_nan_is_refused(weights, tmp_path, precision, remedy):
    checkpoint = read_checkpoint(weights)
    checkpoint["params"]["experts.0.layers.2.bias"][:] = np.nan
    save_checkpoint(tmp_path / "broken.pth", checkpoint)
    encoded = Upscaler(tmp_path / "broken.pth", device="cpu", precision=precision).encode(picture(9, 5, 3))
    with pytest.raises(
        ValueError, match=f"the output of the network contains NaN or Inf; its weights are .*{remedy}"
    ):
        encoded.within_budget(0).render(scale=2)


def test_pillow_pictures_and_lists_are_accepted(upscaler):
    image = picture(9, 5, 3)
    expected = upscaler(image, scale=2)
    np.testing.assert_array_equal(upscaler(Image.fromarray(image), scale=2), expected)
    with pytest.raises(ValueError, match="mode P; convert it to RGB"):
        upscaler(Image.fromarray(image).quantize(4), scale=2)
    unit = (image / 255).tolist()
    np.testing.assert_allclose(upscaler(unit, scale=2) * 255, expected, atol=0.51)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_stays_close_and_keeps_the_type(weights, upscaler, precision):
    image = picture(9, 15, 4)
    rounded = Upscaler(weights, device="cpu", precision=precision)(image, scale=3)
    exact = upscaler(image, scale=3)
    assert rounded.dtype == exact.dtype
    difference = np.abs(rounded.astype(int) - exact)
    assert 0 < difference.max() < 6


def test_int8_takes_bfloat16_or_float32_where_the_machine_lacks_it(weights, monkeypatch, caplog):
    monkeypatch.setattr("moeisr_plugin.render.casting.obstacle", lambda: "it lacks the instructions")
    image = picture(9, 15, 4)
    replaced = Upscaler(weights, device="cpu", precision="int8")
    assert replaced.precision in ("bfloat16", "float32")
    assert caplog.messages == [f"precision int8: it lacks the instructions; using {replaced.precision}"]
    expected = Upscaler(weights, device="cpu", precision=replaced.precision)(image, scale=2)
    np.testing.assert_array_equal(replaced(image, scale=2), expected)


def test_unknown_precision_is_refused(weights):
    with pytest.raises(
        ValueError, match="precision is 'float8'; give float32, bfloat16, float16, tf32, int8"
    ):
        Upscaler(weights, device="cpu", precision="float8")


def test_bundled_weights_are_the_default_and_are_found_by_name():
    image = picture(6, 8, 3)
    default, by_name, other = (
        Upscaler(weights, device="cpu")(image, scale=2) for weights in (None, DEFAULT, "tiny_LTE")
    )
    np.testing.assert_array_equal(default, by_name)
    assert (default != other).any()


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such file"):
        Upscaler(tmp_path / "absent.pth")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(7, 9), (1, 12), (5, 1), (1, 1)])
def test_a_constant_picture_stays_constant(size, dtype, precision):
    upscaler = Upscaler("tiny_MoEISR_LIIF_s", device="cpu", precision=precision)
    white = np.iinfo(dtype).max
    for colour in ((white, white, white), (white, 0, 0), (white // 3, white // 5, white)):
        image = np.full((*size, 3), colour, dtype)
        for scale in (1, 2, 3.7):
            enlarged = upscaler(image, scale=scale)
            np.testing.assert_array_equal(enlarged, np.broadcast_to(image[0, 0], enlarged.shape))


def test_alpha_of_a_hard_edge_stays_0_and_255_beyond_a_pixel_from_it():
    image = np.full((16, 18, 4), 200, np.uint8)
    image[..., 3] = 255 * (np.add.outer(np.arange(16), np.arange(18)) > 15)  # a diagonal edge
    alpha = Upscaler(device="cpu")(image, scale=4)[..., 3]
    nearest = np.kron(image[..., 3], np.ones((4, 4), np.uint8))
    inside, outside = (np.asarray(distance_transform_edt(nearest == value)) / 4 for value in (255, 0))
    assert alpha[inside > 1.2].min() == 255  # distances in LR pixels
    assert alpha[outside > 1.2].max() == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_hidden_colour_is_enlarged_like_any_other_on_request(weights, dtype):
    image = picture(9, 13, 4, dtype=dtype)
    image[2:7, 3:9, 3] = 0
    image[7:, :, 3] = np.iinfo(dtype).max
    keeping = Upscaler(weights, device="cpu", keep_hidden_colour=True)
    kept = keeping(image, scale=2.5)
    np.testing.assert_array_equal(kept[..., :3], keeping(image[..., :3], scale=2.5))
    plain = Upscaler(weights, device="cpu")(image, scale=2.5)
    np.testing.assert_array_equal(kept[..., 3], plain[..., 3])
    assert (plain[plain[..., 3] == 0][:, :3] == 0).all()
    assert (kept[kept[..., 3] == 0][:, :3] != 0).any()
