"""Triton backend of rendering: which tensors and networks it supports, and how it launches its kernels."""

import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from moeisr_plugin.archs.embeddings import LIIFEmbedding
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.render.casting import rounds_to_tf32
from moeisr_plugin.render.grid import grid_axis

# Tensor cores need a width of at least 16, and Triton a power of two. The weights of a layer wider than 128
# do not fit in shared memory, so it is computed in two halves, up to a width of 256.
_LEAST_WIDTH, _WHOLE_WIDTH = 16, 128
# NVIDIA GPUs with bfloat16 and TF32, since Ampere.
_DEVICE, _LEAST_CAPABILITY = "cuda", (8, 0)


GridDecoder = Callable[[Tensor, Sequence[Tensor], Tensor, Tensor], Tensor]
"""Function from padded latent, LR pixels per expert, and row and column offsets to RGB.

See :func:`.grid_decoder.grid_decoder`.
"""


class Launch(NamedTuple):
    """Launch parameters of :func:`.triton_kernels.decode`."""

    queries: int
    warps: int
    halves: bool = False


# Fastest measured parameters on an H200, by input precision of products: for widths up to 128, and above.
# With tf32x3, wide experts need too many registers.
_LAUNCHES = {
    "ieee": (Launch(128, 4), Launch(128, 8, halves=True)),
    "tf32": (Launch(64, 4), Launch(128, 8, halves=True)),
    "tf32x3": (Launch(128, 8), None),
}

_allowed: ContextVar[bool] = ContextVar("Triton kernels are allowed", default=True)


@contextmanager
def without_kernels() -> Iterator[None]:
    """Context in which no Triton kernels are used."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def supports(like: Tensor) -> bool:
    """Return whether Triton kernels can be used on the device and type of a tensor.

    The environment variable ``MOEISR_KERNELS=0`` disables them.
    """
    return (
        like.device.type == _DEVICE
        and like.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and _allowed.get()
        and os.environ.get("MOEISR_KERNELS") != "0"
        and _gpu_is_supported(like.device.index or 0)
        and _works(_try_blending, like.device)
    )


def can_decode(net: ImplicitSR, latent: Tensor) -> bool:
    """Return whether Triton kernels can evaluate the experts of a network on a latent (1, D, h, w)."""
    embedding, width, channels = net.embedding, _width(net), latent.shape[1]
    # Subclasses may have another forward.
    known = type(embedding) is LIIFEmbedding and {type(expert) for expert in net.expert_list} == {Expert}
    if not (known and channels == _power_of_two(channels) and supports(latent)):
        return False
    products = _products(latent)
    launch = _launch(width, products)
    return launch is not None and _works(
        _try_decoding, latent.device, width, channels, embedding.radius, latent.dtype, products
    )


def grid_decoder(net: ImplicitSR, latent: Tensor, rel_cell: Tensor) -> GridDecoder:
    """Return a Triton implementation of :func:`.grid_decoder.grid_decoder`.

    Args:
        net: network that :func:`can_decode` accepts.
        latent: (1, D, h, w).
        rel_cell: (1, 2), the cell relative to a latent.
    """
    embedding, experts, products = net.embedding, net.expert_list, _products(latent)
    width, channels = _width(net), latent.shape[1]
    launch = _launch(width, products)
    assert launch is not None
    assert isinstance(embedding, LIIFEmbedding)
    pack = functools.partial(kernels().pack, channels=channels, width=width, products=products)
    packed = [pack(expert, embedding.parts(expert.first, rel_cell)) for expert in experts]

    def decode(padded: Tensor, groups: Sequence[Tensor], rel_y: Tensor, rel_x: Tensor) -> Tensor:
        rgb = rel_y.new_empty(len(rel_y), len(rel_x), rel_y.shape[1], rel_x.shape[1], 3)
        table = padded.new_empty(len(rel_y) * len(rel_x), width)
        latent = padded[0].permute(1, 2, 0).contiguous()  # (h + 2 * radius, w + 2 * radius, D)
        rel_y = rel_y.clone()  # a view may have another alignment, for which Triton would compile again
        for expert, pixels in zip(packed, groups, strict=True):
            kernels().precompute_first_layer(table, latent, pixels, expert, products=products)
            kernels().decode(rgb, table, pixels, rel_y, rel_x, expert, products=products, **launch._asdict())
        return rgb

    return decode


def kernels() -> ModuleType:
    """Import the kernels. Triton must be installed."""
    return import_module("moeisr_plugin.render.triton_kernels")


def _width(net: ImplicitSR) -> int:
    """Return the width of the experts, rounded up. Kernels fill the additional features with zeros."""
    return _power_of_two(net.expert_list[0].first.out_features)


def _power_of_two(width: int) -> int:
    """Round a width up to a power of two that tensor cores support."""
    return max(_LEAST_WIDTH, 1 << (width - 1).bit_length())


def _products(like: Tensor) -> str:
    """Return Triton's input precision. ``tf32x3`` computes float32 products by three TF32 products."""
    if like.dtype != torch.float32:
        return "ieee"
    return "tf32" if rounds_to_tf32() else "tf32x3"


def _launch(width: int, products: str) -> Launch | None:
    """Return the launch parameters for experts of a width, or None if kernels are not faster."""
    whole, wide = _LAUNCHES[products]
    if width <= _WHOLE_WIDTH:
        return whole
    return wide if width <= 2 * _WHOLE_WIDTH else None


@functools.cache
def _gpu_is_supported(index: int) -> bool:
    """Return whether the kernels support a GPU, and Triton is installed."""
    return (
        torch.version.cuda is not None
        and find_spec("triton") is not None
        and torch.cuda.get_device_capability(index) >= _LEAST_CAPABILITY
    )


@functools.cache
def _works(attempt: Callable[..., None], device: torch.device, *how: object) -> bool:
    """Return whether a kernel compiles and runs on a device. Tried once per set of arguments.

    Triton needs a C compiler. Too little shared memory is expected on small GPUs and is not reported.
    """
    try:
        attempt(device, *how)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except torch.cuda.OutOfMemoryError:  # temporary, so the result must not be cached
        raise
    except Exception as error:  # any error of Triton, the compiler or the driver
        if type(error).__name__ != "OutOfResources":  # by name, because Triton may be missing
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(
                f"a Triton kernel failed; rendering continues without Triton: {reason[:300]}",
                stacklevel=2,
            )
        return False
    return True


def _try_blending(device: torch.device) -> None:
    axis = grid_axis(2, 1, local_ensemble=True, dtype=torch.float32).to(device)
    kernels().blend(torch.zeros(1, 1, 4, 4, 3, device=device), axis, axis)


def _try_decoding(
    device: torch.device, width: int, channels: int, radius: int, dtype: torch.dtype, products: str
) -> None:
    side, launch = 2 * radius + 1, _launch(width, products)
    assert launch is not None
    zeros = functools.partial(torch.zeros, dtype=dtype, device=device)
    packed = kernels().PackedExpert(
        taps=zeros(side**2, width, channels),
        constant=torch.zeros(width, device=device),
        columns=zeros(2, width),
        weights=zeros(1, width, width),
        biases=zeros(1, width),
        last=zeros(3, width),
        last_bias=zeros(3),
        between=1,
    )
    latent, table = zeros(side, side, channels), zeros(1, width)
    rel, rgb = torch.zeros(1, 1, device=device), torch.zeros(1, 1, 1, 3, device=device)
    pixels = torch.zeros(1, dtype=torch.long, device=device)
    kernels().precompute_first_layer(table, latent, pixels, packed, products=products)
    kernels().decode(rgb, table, pixels, rel, rel, packed, products=products, **launch._asdict())
