"""Linear layers by the library that a processor multiplies soonest with, and the ReLU between them.

Torch leaves products of float32 to MKL, which keeps to AVX2 on processors that Intel did not make. oneDNN,
which torch does convolutions with, does not, and gives the same up to rounding. The ReLU stays torch's:
oneDNN's makes 0 of NaN, and a broken network's picture look whole.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# oneDNN copies what is transposed, which had better be done within a processor's cache.
_BLOCK_ROWS = 2048
_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # what torch.compile makes of linear layers
_MINUS_INFINITY = {torch.bfloat16: -0x80, torch.float16: -0x400}  # as an integer


def linear(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer: (..., n_in) to (..., n_out)."""
    if onednn_is_faster(features, weight):
        compute = _onednn_linear if torch.is_inference_mode_enabled() else _OneDNNLinear.apply
        rows = compute(features.flatten(0, -2), weight, bias)  # (N, n_out)
        return rows if features.ndim == 2 else rows.unflatten(0, features.shape[:-1])
    return F.linear(features, weight, bias)


def relu_(hidden: Tensor) -> Tensor:
    """ReLU in place; NaN stays NaN.

    Without gradients, numbers of 16 bits are compared as integers, of which those up to that of -Inf are the
    negative numbers, and those between it and 0 NaN: a processor that has no arithmetic of such numbers would
    convert each to float32 and back.
    """
    if hidden.dtype in _MINUS_INFINITY and hidden.device.type == "cpu" and not torch.is_grad_enabled():
        torch.threshold_(hidden.view(torch.int16), _MINUS_INFINITY[hidden.dtype], 0)
        return hidden
    return F.relu(hidden, inplace=True)


def onednn_is_faster(features: Tensor, weight: Tensor) -> bool:
    """Whether a product is faster so."""
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
        and _onednn_supports(features.dtype)
    )


def _onednn_linear(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert _onednn is not None
    return _onednn(features, weight, None if bias is None else bias.contiguous(), "none", [], "")


class _OneDNNLinear(torch.autograd.Function):
    """The same of rows, (N, n_in) to (N, n_out), with derivatives, which are linear layers themselves."""

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
    blocks = zip(gradient.split(_BLOCK_ROWS), features.split(_BLOCK_ROWS), strict=True)
    return torch.stack([linear(g.t(), x.t()) for g, x in blocks]).sum(0)  # (n_out, n_in)


@functools.cache
def _onednn_supports(dtype: torch.dtype) -> bool:
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
