"""Precisions of networks and matrix products, and the peak speed of matrix products."""

import contextlib
import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

import torch

from benchmarking.timing import best_seconds
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.ops.linear import linear
from moeisr_plugin.render.casting import INT8, TF32, rounded_to_tf32, to_precision

FLOATS = ("float32", "tf32", "bfloat16", "float16")
"""Precisions in which any code computes, by autocasting or rounding."""
PRECISIONS = (*FLOATS, INT8)

# Sides of the square matrices for the peak measurement, large enough to be bound by arithmetic.
_PEAK_SIDE = {"cpu": 2048, "cuda": 8192}
# A product of this duration is large enough. Precisions without hardware support would take minutes.
_PEAK_SECONDS = 0.05


def in_precision(net: ImplicitNetwork, precision: str) -> ImplicitNetwork:
    """Return a copy of a network in a precision, cast by the package."""
    return to_precision(copy.deepcopy(net), precision)


def matrix_precision(precision: str) -> AbstractContextManager[None]:
    """Enable TF32 rounding of float32 products on a GPU for `tf32`, and disable it otherwise."""
    return rounded_to_tf32(precision == TF32)


@contextlib.contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """Run other code in a precision by autocasting. Coordinates stay float32."""
    dtype = _dtype(precision)
    with matrix_precision(precision), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        yield


def gemm_peak(precision: str, device: torch.device) -> float:
    """Return the MACs per second of a large matrix product, with the faster of two backends."""
    side, seconds = 128, 0.0
    with matrix_precision(precision), torch.inference_mode():
        while side < _PEAK_SIDE[device.type] and seconds < _PEAK_SECONDS:
            side *= 2
            factors = torch.randn(2, side, side, device=device).to(_dtype(precision))
            seconds = min(
                best_seconds(partial(multiply, *factors), device)
                for multiply in ([torch.ops.aten._int_mm] if precision == INT8 else [torch.mm, linear])
            )
    return side**3 / seconds


def _dtype(precision: str) -> torch.dtype:
    return torch.float32 if precision == "tf32" else getattr(torch, precision)
