"""Linear layers, with or without a ReLU, by the library that a processor multiplies soonest with.

Torch leaves products of float32 to MKL, which keeps to AVX2 on processors that Intel did not make, and writes
the bias and the ReLU in walks over memory of their own. oneDNN, which torch does convolutions with, knows all
three, and gives the same up to rounding.
"""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # what torch.compile makes of linear layers


def linear(features: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """A linear layer, and a ReLU if asked for: (..., n_in) to (..., n_out)."""
    if onednn_pays(features, weight):
        assert _onednn is not None
        return _onednn(features, weight, bias, "relu" if relu else "none", [], "")
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
    """Whether a product without gradients is faster so."""
    return (
        not torch.is_grad_enabled()
        and features.device.type == "cpu"
        and features.dtype == weight.dtype
        and features.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and _multiplies(features.dtype)
    )


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
