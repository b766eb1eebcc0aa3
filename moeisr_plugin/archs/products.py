"""Linear layers, with or without a ReLU, by the library that a processor multiplies soonest with.

Torch leaves products of float32 to MKL, which keeps to AVX2 on processors that Intel did not make, and writes
the bias and the ReLU in walks over memory of their own. oneDNN, which torch does convolutions with, knows all
three, and gives the same up to rounding.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# oneDNN copies what is transposed, which had better be done within a processor's cache.
_ROWS = 2048
_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # what torch.compile makes of linear layers


def linear(features: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """A linear layer, and a ReLU if asked for: (..., n_in) to (..., n_out)."""
    if onednn_pays(features, weight):
        compute = _OneDNNLinear.apply if torch.is_grad_enabled() else _onednn_linear
        return compute(features, weight, bias, relu)
    answer = F.linear(features, weight, bias)
    return relu_(answer) if relu else answer


def relu_(hidden: Tensor) -> Tensor:
    """ReLU in place.

    Without gradients, numbers of 16 bits are compared as integers, whose sign bit is theirs: a processor that
    has no arithmetic of such numbers would convert each to float32 and back.
    """
    if hidden.element_size() == 2 and hidden.device.type == "cpu" and not torch.is_grad_enabled():
        hidden.view(torch.int16).clamp_min_(0)
        return hidden
    return F.relu(hidden, inplace=True)


def onednn_pays(features: Tensor, weight: Tensor) -> bool:
    """Whether a product is faster so."""
    return (
        features.device.type == "cpu"
        and features.dtype == weight.dtype
        and features.ndim > 1
        and features.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and _multiplies(features.dtype)
    )


class _OneDNNLinear(torch.autograd.Function):
    """The same with gradients, which are linear layers themselves."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        answer = _onednn_linear(features, weight, bias, relu)
        ctx.save_for_backward(features, weight, answer if relu else None)
        return answer

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, answer = ctx.saved_tensors
        gradient = gradients[0] if answer is None else gradients[0] * (answer > 0)
        of_features, of_weight, of_bias, _ = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)  # (N, n_out)
        blocks = zip(rows.split(_ROWS), features.flatten(0, -2).split(_ROWS), strict=True)
        return (
            linear(gradient, weight.t()) if of_features else None,
            torch.stack([linear(g.t(), x.t()) for g, x in blocks]).sum(0) if of_weight else None,
            rows.sum(0) if of_bias else None,
            None,
        )


def _onednn_linear(features: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    assert _onednn is not None
    return _onednn(features, weight, bias, "relu" if relu else "none", [], "")


@functools.cache
def _multiplies(dtype: torch.dtype) -> bool:
    """Whether this processor's oneDNN computes in a type, and was found to do so sooner."""
    if (
        _onednn is None
        or not torch.backends.mkldnn.is_available()
        or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512")
    ):
        return False
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32
