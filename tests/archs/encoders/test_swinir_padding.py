"""SwinIR with the padding of the published test of LTE, written out here by itself."""

import math

import pytest
import torch

from moeisr_plugin.archs.encoders.padding import pad_as_published
from moeisr_plugin.archs.encoders.swinir_encoder_arch import SwinIREncoder
from moeisr_plugin.archs.implicit_arch import LTE
from moeisr_plugin.archs.registry import build_network
from moeisr_plugin.checkpoints.network import network_from, save_checkpoint
from moeisr_plugin.options import Run, check
from moeisr_plugin.render import Window, encode, render

TINY = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 3], "window_size": 4}
SIZES = [(8, 12), (9, 12), (8, 15), (7, 10)]


def published(image, window):
    """Append mirror images below and to the right, up to the next larger multiples of the window."""
    height, width = image.shape[2:]
    taller = torch.cat([image, image.flip(2)], 2)[:, :, : (height // window + 1) * window]
    return torch.cat([taller, taller.flip(3)], 3)[:, :, :, : (width // window + 1) * window]


def encoder_of(padding, seed=0):
    torch.manual_seed(seed)
    return SwinIREncoder(**TINY, padding=padding).eval()


@pytest.mark.parametrize("size", SIZES)
def test_padding_appends_the_mirror_image(size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pad_as_published(image, 4), published(image, 4))


@pytest.mark.parametrize(("size", "padded"), [((1, 1), (4, 4)), ((3, 2), (4, 4)), ((4, 1), (8, 4))])
def test_small_images_are_mirrored_again(size, padded):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    result = pad_as_published(image, 4)
    assert result.shape[2:] == padded
    assert torch.equal(result[:, :, : size[0], : size[1]], image)
    for row in range(padded[0]):
        for column in range(padded[1]):
            y, x = (
                place % (2 * side) if place % (2 * side) < side else 2 * side - 1 - place % (2 * side)
                for place, side in ((row, size[0]), (column, size[1]))
            )
            assert torch.equal(result[:, :, row, column], image[:, :, y, x])


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_latent_is_that_of_the_padded_image(size):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain, own = encoder_of("minimal"), encoder_of("published")
    expected = plain(published(image, 4))[:, :, : size[0], : size[1]]
    torch.testing.assert_close(own(image), expected)
    assert not torch.allclose(plain(image), expected, atol=1e-3)


@torch.no_grad()
def test_training_patches_are_padded_as_little_as_possible():
    image = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain, own = (encoder_of(padding).train() for padding in ("minimal", "published"))
    latents = []
    for net in (plain, own):
        torch.manual_seed(1)  # of stochastic depth
        latents.append(net(image))
    assert torch.equal(*latents)


def lte_of(padding):
    torch.manual_seed(0)
    encoder = {"type": "SwinIREncoder", **TINY, "padding": padding}
    return LTE(encoder=encoder, hidden_dim=16, num_freq_features=8).eval()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3])
@torch.no_grad()
def test_picture_is_that_of_the_published_test_but_for_its_border(size, scale):
    """That test enlarges the padded image and cuts the result.

    A query takes latents of up to one and a half LR pixels around it: the ensemble and a convolution.
    """
    lr = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    plain, own = lte_of("minimal"), lte_of("published")
    padded = published(lr, 4)
    whole = render(plain, encode(plain, padded), (padded.shape[2] * scale, padded.shape[3] * scale))
    height, width = size[0] * scale, size[1] * scale
    border = math.ceil(1.5 * scale)
    inner = (..., slice(height - border), slice(width - border))
    result, expected = render(own, encode(own, lr), (height, width)), whole[:, :, :height, :width]
    torch.testing.assert_close(result[inner], expected[inner], rtol=0, atol=2e-5)
    before = render(plain, encode(plain, lr), (height, width))
    assert (before[inner] - expected[inner]).abs().max() > 5e-4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3])
@torch.no_grad()
def test_a_window_of_the_padded_picture_is_that_of_the_published_test(size, scale):
    """The window leaves the padding out. It is decoded where neighbours of the last pixels reach into it."""
    lr = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    net = lte_of("minimal")
    padded = published(lr, 4)
    whole = render(net, encode(net, padded), (padded.shape[2] * scale, padded.shape[3] * scale))
    height, width = size[0] * scale, size[1] * scale
    encoding = encode(net, pad_as_published(lr, 4))
    result = render(net, encoding, (height, width), Window(0, 0, *size))
    torch.testing.assert_close(result, whole[:, :, :height, :width], rtol=0, atol=1e-6)


def test_padding_is_saved_with_the_weights(tmp_path):
    net = lte_of("published")
    save_checkpoint(tmp_path / "net.pth", {"params": net.state_dict(), "network_g": net.hyper_parameters})
    encoder = network_from(tmp_path / "net.pth").encoder
    assert isinstance(encoder, SwinIREncoder)
    assert encoder.padding == "published"


def test_unknown_padding_is_refused(training_options):
    with pytest.raises(ValueError, match="padding is 'minimal' or 'published', not 'mirror'"):
        build_network({"type": "SwinIREncoder", **TINY, "padding": "mirror"})
    training_options["network_g"]["encoder"] = {"type": "SwinIREncoder", **TINY, "padding": "mirror"}
    (problem,) = check(training_options, Run())[1]
    assert str(problem) == "network_g.encoder.padding: is 'mirror'; give minimal or published"
