"""Linear layer on the fastest CPU backend (oneDNN or MKL), and an in-place ReLU.

Torch multiplies float32 matrices with MKL, which uses at most AVX2 on processors of other makers than Intel.
oneDNN has no such limit and gives the same result up to rounding. Its fused ReLU is not used, because it maps
NaN to 0 and thus hides damaged weights.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# oneDNN copies transposed matrices. Blocks of this many rows stay in the cache.
_BLOCK_ROWS = 2048
_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # used by torch.compile
_MINUS_INFINITY = {torch.bfloat16: -0x80, torch.float16: -0x400}  # bits as int16


def linear(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear layer.

    Args:
        features: (..., n_in).
        weight: (n_out, n_in).
        bias: (n_out,).

    Returns:
        (..., n_out).
    """
    if onednn_is_faster(features, weight):
        compute = _onednn_linear if torch.is_inference_mode_enabled() else _OneDNNLinear.apply
        rows = compute(features.flatten(0, -2), weight, bias)  # (N, n_out)
        return rows if features.ndim == 2 else rows.unflatten(0, features.shape[:-1])
    return F.linear(features, weight, bias)


def relu_(hidden: Tensor) -> Tensor:
    """Apply ReLU in place. NaN stays NaN.

    Without gradients, 16-bit floats are compared as int16 on a CPU. Otherwise, a CPU without 16-bit
    arithmetic converts each number to float32 and back. As integers, negative floats are at most -Inf, and
    NaN with a sign bit lies between -Inf and 0.
    """
    if hidden.dtype in _MINUS_INFINITY and hidden.device.type == "cpu" and not torch.is_grad_enabled():
        torch.threshold_(hidden.view(torch.int16), _MINUS_INFINITY[hidden.dtype], 0)
        return hidden
    return F.relu(hidden, inplace=True)


def onednn_is_faster(features: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN multiplies these matrices, and faster than MKL."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and features.device.type == weight.device.type == "cpu"
        and features.dtype == weight.dtype
        and features.ndim > 1
        and features.numel() > 0
        and weight.ndim == 2
        and features.shape[-1] == weight.shape[1]
        and not torch.is_autocast_enabled("cpu")
        and torch._C._get_mkldnn_enabled()
        and onednn_supports(features.dtype)
    )


def _onednn_linear(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert _onednn is not None
    return _onednn(features, weight, None if bias is None else bias.contiguous(), "none", [], "")


class _OneDNNLinear(torch.autograd.Function):
    """Differentiable oneDNN linear layer, (N, n_in) to (N, n_out). Its derivatives are linear layers."""

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _onednn_linear(features, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        features, weight, _ = inputs
        of_features, of_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(features if of_weight else None, weight if of_features else None)
        ctx.save_for_forward(features, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients  # (N, n_out)
        features, weight = ctx.saved_tensors
        of_bias = ctx.needs_input_grad[2]
        return (
            None if weight is None else linear(gradient, weight.t()),
            None if features is None else _gradient_of_weight(features, gradient),
            gradient.sum(0) if of_bias else None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        features, weight = ctx.saved_tensors
        of_features, of_weight, of_bias = tangents
        parts = [
            None if of_features is None else linear(of_features, weight),
            None if of_weight is None else linear(features, of_weight),
            None if of_bias is None else of_bias.expand(len(features), -1),
        ]
        return torch.stack([part for part in parts if part is not None]).sum(0)


def _gradient_of_weight(features: Tensor, gradient: Tensor) -> Tensor:
    """Sum the outer products of (N, n_out) and (N, n_in), block by block. Return (n_out, n_in)."""
    blocks = zip(gradient.split(_BLOCK_ROWS), features.split(_BLOCK_ROWS), strict=True)
    return torch.stack([linear(g.t(), x.t()) for g, x in blocks]).sum(0)  # (n_out, n_in)


@functools.cache
def onednn_supports(dtype: torch.dtype) -> bool:
    """Return whether oneDNN supports a type on this CPU and was measured to be faster."""
    if (
        _onednn is None
        or not torch.backends.mkldnn.is_available()
        or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512")
    ):
        return False
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32
