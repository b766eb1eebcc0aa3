"""Precisions: of networks, of matrix products, and what the latter can reach on this machine."""

import contextlib
import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

import torch

from benchmarking.clock import best_seconds
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.linear import linear
from moeisr_plugin.render.casting import TF32, rounded_to_tf32, to_precision

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")

# Sides of the square matrices whose product tells the peak: large enough to be bound by arithmetic.
_PEAK_SIDE = {"cpu": 2048, "cuda": 8192}
# Where the hardware lacks a precision a product takes minutes; one that takes this long is large enough.
_PEAK_SECONDS = 0.05


def in_precision(net: ImplicitSR, precision: str) -> ImplicitSR:
    """A copy of a network in a precision, as the package casts it."""
    return to_precision(copy.deepcopy(net), precision)


def matrix_precision(precision: str) -> AbstractContextManager[None]:
    """Lets float32 products on a GPU round to TF32, or keeps them from it."""
    return rounded_to_tf32(precision == TF32)


@contextlib.contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """How code that knows nothing of precisions is run in one: coordinates stay float32."""
    dtype = _dtype(precision)
    with matrix_precision(precision), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        yield


def gemm_peak(precision: str, device: torch.device) -> float:
    """MACs per second of a large matrix product, by the faster of the libraries that there are."""
    side, seconds = 128, 0.0
    with matrix_precision(precision), torch.inference_mode():
        while side < _PEAK_SIDE[device.type] and seconds < _PEAK_SECONDS:
            side *= 2
            left, right = (torch.randn(side, side, device=device).to(_dtype(precision)) for _ in range(2))
            seconds = min(
                best_seconds(partial(multiply, left, right), device) for multiply in (torch.mm, linear)
            )
    return side**3 / seconds


def _dtype(precision: str) -> torch.dtype:
    return torch.float32 if precision == "tf32" else getattr(torch, precision)
