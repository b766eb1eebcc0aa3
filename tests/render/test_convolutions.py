"""Winograd convolutions match direct ones; selection of Winograd convolutions."""

import pytest
import torch
from references import lively, picture
from torch import nn

from moeisr_plugin import render
from moeisr_plugin.archs.encoders.edsr_encoder_arch import EDSREncoder
from moeisr_plugin.archs.encoders.toolbox_encoder_arch import ToolboxEncoder
from moeisr_plugin.archs.implicit_arch import LTE, MoEISRLIIF
from moeisr_plugin.render import convolutions
from moeisr_plugin.render.convolutions import WinogradConvolutions, winograd_is_faster, with_fast_convolutions

needs_nnpack = pytest.mark.skipif(not convolutions._has_nnpack(), reason="needs AVX2 and a torch with NNPACK")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def nnpack_shapes(monkeypatch):
    """Record the shapes of the inputs of NNPACK."""
    shapes, original = [], convolutions._nnpack_convolution

    def recorded(picture, *args):
        assert picture.is_contiguous()
        shapes.append(tuple(picture.shape))
        return original(picture, *args)

    monkeypatch.setattr(convolutions, "_nnpack_convolution", recorded)
    return shapes


def convolution(channels, features, padding, *, bias=True, **options):
    torch.manual_seed(0)
    return nn.Conv2d(channels, features, 3, padding=padding, bias=bias, **options)


@needs_nnpack
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [0, 1, (1, 1)])
@pytest.mark.parametrize(
    ("channels", "features", "size"), [(64, 64, (51, 67)), (65, 128, (48, 48)), (128, 67, (97, 53))]
)
@torch.inference_mode()
def test_winograd_convolutions_match_direct_ones(channels, features, size, padding, bias, nnpack_shapes):
    conv = convolution(channels, features, padding, bias=bias)
    x = torch.randn(1, channels, *size).to(memory_format=torch.channels_last)
    with WinogradConvolutions():
        found = conv(x)
    assert nnpack_shapes == [tuple(x.shape)]
    expected = conv.double()(x.double())
    assert (found - expected).abs().max() < 2e-5 * expected.abs().max()


@needs_nnpack
@pytest.mark.parametrize(
    ("conv", "x"),
    [
        (convolution(63, 64, 1), torch.randn(1, 63, 50, 50)),
        (convolution(64, 64, 1), torch.randn(1, 64, 40, 50)),
        (convolution(64, 64, 1), torch.randn(2, 64, 50, 50)),
        (convolution(64, 64, 1), torch.randn(64, 50, 50)),
        (convolution(64, 64, 2), torch.randn(1, 64, 50, 50)),
        (convolution(64, 64, "same"), torch.randn(1, 64, 50, 50)),
        (convolution(64, 64, 1, stride=2), torch.randn(1, 64, 50, 50)),
        (convolution(64, 64, 1, dilation=2), torch.randn(1, 64, 50, 50)),
        (convolution(64, 64, 1, groups=2), torch.randn(1, 64, 50, 50)),
        (nn.Conv2d(64, 64, 1), torch.randn(1, 64, 50, 50)),
        (convolution(64, 64, 1).double(), torch.randn(1, 64, 50, 50).double()),
        (convolution(64, 64, 1).bfloat16(), torch.randn(1, 64, 50, 50).bfloat16()),
    ],
)
@torch.inference_mode()
def test_unsupported_convolutions_are_left_to_torch(conv, x, nnpack_shapes):
    expected = conv(x)
    with WinogradConvolutions():
        assert torch.equal(conv(x), expected)
    assert not nnpack_shapes


@needs_nnpack
@torch.inference_mode()
def test_keyword_arguments_are_accepted(nnpack_shapes):
    x, weight = torch.randn(1, 64, 50, 50), torch.randn(64, 64, 3, 3)
    with WinogradConvolutions():
        found = torch.conv2d(input=x, weight=weight, padding=1)
    assert nnpack_shapes == [(1, 64, 50, 50)]
    torch.testing.assert_close(found, torch.conv2d(x, weight, padding=1), rtol=1e-4, atol=1e-3)


@needs_nnpack
def test_nnpack_is_not_used_with_two_threads_or_if_disabled():
    x = torch.randn(1, 64, 50, 50)
    assert winograd_is_faster(x)
    with torch.backends.nnpack.flags(enabled=False):
        assert not winograd_is_faster(x)
    torch.set_num_threads(2)
    assert not winograd_is_faster(x)


@torch.inference_mode()
def test_torch_without_nnpack_computes_directly(monkeypatch):
    monkeypatch.setattr(convolutions, "_has_nnpack", lambda: False)
    conv, x = convolution(64, 64, 1), torch.randn(1, 64, 50, 50)
    expected = conv(x)
    with WinogradConvolutions():
        assert torch.equal(conv(x), expected)


@pytest.mark.parametrize(
    "lr",
    [
        torch.rand(1, 3, 50, 57),
        torch.rand(2, 50, 57, 3).permute(0, 3, 1, 2),
        torch.rand(50, 57, 3).permute(2, 0, 1)[None],
    ],
    ids=["first", "last", "last, with another batch stride"],
)
@torch.inference_mode()
def test_other_networks_run_in_channels_last_format(lr, nnpack_shapes):
    conv = convolution(3, 32, 1)
    found = with_fast_convolutions(conv)(lr)
    assert found.stride() == (50 * 57 * 32, 1, 57 * 32, 32)
    torch.testing.assert_close(found, conv(lr.contiguous()), rtol=1e-5, atol=1e-6)
    assert not nnpack_shapes


@needs_nnpack
@pytest.mark.parametrize(
    ("net", "products"),
    [
        (lambda: MoEISRLIIF(encoder=EDSREncoder(num_feat=64, num_block=2), hidden_dim=16), 9),
        (
            lambda: LTE(
                encoder=ToolboxEncoder(arch="EDSR", params={"num_feat": 64, "num_block": 1}), hidden_dim=16
            ),
            5,
        ),
    ],
)
def test_rendering_with_winograd_is_as_accurate_as_without(net, products, nnpack_shapes):
    net, lr, size = lively(net()).eval(), picture(1, 53, 49), (131, 98)
    encoding = render.encode(net, lr.float())
    found = render.render(net, encoding, size)
    assert len(nnpack_shapes) == products
    assert encoding.latent.is_contiguous(memory_format=torch.channels_last)
    torch.set_num_threads(2)
    direct = render.render(net, render.encode(net, lr.float()), size)
    assert len(nnpack_shapes) == products
    net = net.double()
    expected = render.render(net, render.encode(net, lr), size)
    # Random networks amplify rounding errors, LTE most. The error of direct convolutions sets the tolerance.
    assert (found - expected).abs().max() < 4 * (direct - expected).abs().max()
    torch.testing.assert_close(found, direct, rtol=0, atol=3e-5 * expected.abs().max().item())
