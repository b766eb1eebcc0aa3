"""oneDNN linear layers match float64, also in their derivatives; selection of oneDNN; in-place ReLU."""

from functools import partial
from typing import Any

import pytest
import torch
from references import TINY_ENCODER, lively, picture
from torch.autograd import forward_ad
from torch.nn import functional as F

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.ops import linear as linear_module
from moeisr_plugin.ops.linear import linear, relu_

needs_onednn = pytest.mark.skipif(
    not linear_module.onednn_supports(torch.float32), reason="needs AVX2 and a torch with oneDNN"
)


@pytest.fixture
def onednn_shapes(monkeypatch):
    """Record the shapes of the features that oneDNN multiplies."""
    shapes, original = [], linear_module._onednn

    def recorded(features, *args):
        shapes.append(tuple(features.shape))
        return original(features, *args)

    monkeypatch.setattr(linear_module, "_onednn", recorded)
    return shapes


def layer(shape, n_out, *, bias=True) -> Any:
    torch.manual_seed(0)
    return torch.randn(shape), torch.randn(n_out, shape[-1]), torch.randn(n_out) if bias else None


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("shape", "n_out"), [((257, 129), 67), ((5, 3, 7, 64), 3), ((1, 16), 128), ((0, 4), 5)]
)
@pytest.mark.parametrize("gradients", [False, True])
def test_linear_matches_its_equation_in_float64(shape, n_out, bias, gradients):
    features, weight, offset = layer(shape, n_out, bias=bias)
    expected = features.double() @ weight.double().t() + (0 if offset is None else offset.double())
    with torch.set_grad_enabled(gradients):
        found = linear(features, weight, offset)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


@needs_onednn
def test_features_that_are_not_contiguous(onednn_shapes):
    features, weight, bias = layer((66, 31), 9)
    with torch.inference_mode():
        torch.testing.assert_close(linear(features[::2], weight, bias), F.linear(features[::2], weight, bias))
        torch.testing.assert_close(
            linear(features.t(), weight.new_ones(4, 66)), features.t() @ torch.ones(66, 4)
        )
        spread = torch.arange(18.0)[::2]
        torch.testing.assert_close(linear(features, weight, spread), F.linear(features, weight, spread))
    assert onednn_shapes == [(33, 31), (31, 66), (66, 31)]


@needs_onednn
def test_unsupported_cases_are_left_to_torch(onednn_shapes):
    features, weight, bias = layer((9, 8), 4)
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            assert linear(features, weight, bias).dtype == torch.bfloat16
        assert linear(features.double(), weight.double()).dtype == torch.float64
        linear(features[:0], weight, bias)
        linear(features[0], weight, bias)
        with torch.backends.mkldnn.flags(enabled=False):
            linear(features, weight, bias)
        linear(features, weight[0])
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            linear(features, weight.t(), bias)
        assert not onednn_shapes
        linear(features, weight, bias)
    assert onednn_shapes == [(9, 8)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5001, 24), (3, 7, 5, 24)])  # more rows than a block of the gradient
def test_gradients_match_the_equation_in_float64(shape, bias):
    features, weight, offset = layer(shape, 17, bias=bias)
    given = [part.requires_grad_() for part in (features, weight, offset) if part is not None]
    answer = linear(features, weight, offset)
    slope = torch.randn_like(answer)
    found = torch.autograd.grad(answer, given, slope)

    exact = [part.detach().double().requires_grad_() for part in given]
    expected = exact[0] @ exact[1].t() + (exact[2] if bias else 0)
    for one, other in zip(found, torch.autograd.grad(expected, exact, slope.double()), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5 * other.abs().max().item())


def test_gradients_are_computed_only_where_required():
    features, weight, bias = layer((9, 8), 4)
    weight.requires_grad_()
    linear(features, weight, bias).sum().backward()
    assert weight.grad is not None
    assert features.grad is None
    assert bias.grad is None
    with torch.inference_mode():
        constant = torch.ones(3, 8)
    linear(constant, weight.detach(), bias.requires_grad_()).sum().backward()
    torch.testing.assert_close(bias.grad, torch.full((4,), 3.0))


def test_second_derivatives_match_torch():
    features, weight, bias = (part.requires_grad_() for part in layer((9, 8), 4))

    def of_slope(compute):
        (slope,) = torch.autograd.grad(compute().pow(2).sum(), features, create_graph=True)
        return torch.autograd.grad(slope.pow(2).sum(), weight)[0]

    found = of_slope(lambda: linear(features, weight, bias))
    torch.testing.assert_close(
        found, of_slope(lambda: F.linear(features, weight, bias)), rtol=1e-5, atol=1e-2
    )


@needs_onednn
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # from vmap
def test_function_transforms_match_torch(onednn_shapes):
    features, weight, bias = layer((9, 8), 4)

    def cubed(layer, features, weight, bias):
        return layer(features, weight, bias).pow(3).sum()

    for transform in (torch.func.grad, torch.func.jacfwd, torch.func.hessian):
        found, expected = (
            transform(partial(cubed, each), argnums=(0, 1, 2))(features, weight, bias)
            for each in (linear, F.linear)
        )
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)
    assert onednn_shapes
    many = torch.randn(5, 4, 8)
    torch.testing.assert_close(
        torch.vmap(partial(linear, features))(many), torch.stack([F.linear(features, each) for each in many])
    )
    with torch.no_grad(), forward_ad.dual_level():
        dual = linear(forward_ad.make_dual(features, torch.ones_like(features)), weight)
        torch.testing.assert_close(
            forward_ad.unpack_dual(dual).tangent, weight.sum(1).expand(9, 4), rtol=1e-4, atol=1e-4
        )


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace:DeprecationWarning")
def test_a_network_with_one_expert_can_be_traced():
    net = lively(LIIF(encoder=TINY_ENCODER, hidden_dim=20)).eval().float()
    given = picture(1, 9, 7).float(), torch.rand(1, 5, 2) * 2 - 1, torch.full((1, 2), 0.05)
    traced: Any = torch.jit.trace(net, given, check_trace=False)
    torch.testing.assert_close(traced(*given), net(*given), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gradients", [False, True])
def test_relu_in_place_matches_maximum_with_0(dtype, gradients):
    hidden = torch.tensor([[-2.5, -0.0, 0.0, 3.25], [float("inf"), -float("inf"), 1e-6, -1e-6]]).to(dtype)
    expected = torch.maximum(hidden, hidden.new_zeros(()))
    with torch.set_grad_enabled(gradients):
        assert relu_(hidden) is hidden
    assert torch.equal(hidden, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gradients", [False, True])
def test_nan_stays_nan(dtype, gradients):
    features = torch.ones(3, 8, dtype=dtype)
    features[0, 0], features[1, :2] = float("nan"), torch.tensor([float("inf"), -float("inf")])
    with torch.set_grad_enabled(gradients):
        hidden = relu_(linear(features, torch.ones(4, 8, dtype=dtype), torch.ones(4, dtype=dtype)))
        negative = relu_(
            torch.full((17,), float("nan"), dtype=dtype).copysign(torch.tensor(-1.0, dtype=dtype))
        )
    assert hidden.isnan().all(dim=1).tolist() == [True, True, False]
    assert negative.isnan().all()


@pytest.mark.parametrize("make", [LIIF, LTE, MoEISRLIIF, MoEISRLTE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_in_weights_reaches_the_rendered_image(make, dtype):
    net = lively(make(encoder=TINY_ENCODER, hidden_dim=20)).eval().to(dtype)
    next(iter(net.encoder.parameters())).data.fill_(float("nan"))
    found = render.render(net, render.encode(net, picture(1, 13, 17).float()), (31, 29))
    assert found.isnan().all()


@needs_onednn
@pytest.mark.parametrize("make", [LIIF, LTE, MoEISRLIIF, MoEISRLTE])
def test_rendering_with_onednn_is_as_accurate_as_without(make, onednn_shapes, monkeypatch):
    net = lively(make(encoder=TINY_ENCODER, hidden_dim=20)).eval()
    encoding = render.encode(net, picture(1, 13, 17).float())
    found = render.render(net, encoding, (53, 49))
    assert onednn_shapes
    monkeypatch.setattr(linear_module, "onednn_is_faster", lambda *_: False)
    plain = render.render(net, encoding, (53, 49))
    expected = render.render(net.double(), type(encoding)(*(part.double() for part in encoding)), (53, 49))
    # Random networks amplify rounding errors, so the error of torch sets the tolerance.
    assert (found - expected).abs().max() < 4 * (plain - expected).abs().max() + 1e-6


@pytest.mark.skipif(not linear_module.onednn_supports(torch.bfloat16), reason="needs 16-bit arithmetic")
@torch.inference_mode()
def test_bfloat16_is_rounded_only_once(onednn_shapes):
    torch.manual_seed(0)
    features, weight, bias = (torch.randn(shape).bfloat16() for shape in ((65, 33), (12, 33), (12,)))
    found = linear(features, weight, bias)
    expected = F.linear(features.double(), weight.double(), bias.double()).bfloat16()
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-5)
    assert onednn_shapes == [(65, 33)]
