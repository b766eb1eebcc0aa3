"""Which parts of rendering are done by kernels of Triton's, and how; all can be done without them."""

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

# What a tensor core multiplies is at least so wide, and Triton's tensors are powers of two. An expert that is
# wider than this is computed in halves, as the weights of a layer would not fit, up to twice as much.
_LEAST_WIDTH, _WHOLE_WIDTH = 16, 128
# Of NVIDIA's GPUs those with bfloat16 and TF32.
_DEVICE, _LEAST_CAPABILITY = "cuda", (8, 0)


GridDecoder = Callable[[Tensor, Sequence[Tensor], Tensor, Tensor], Tensor]
"""From a padded latent, the LR pixels of each expert, and the rows and columns around them, to answers."""


class Launch(NamedTuple):
    """How experts are computed, as :func:`.kernels.paint` is told."""

    queries: int
    warps: int
    halves: bool = False


# The fastest of those tried on an H200, by how factors are multiplied: up to 128 features, and more. For
# those in float32 that is not rounded there are not registers enough.
_LAUNCHES = {
    "ieee": (Launch(128, 4), Launch(128, 8, halves=True)),
    "tf32": (Launch(64, 4), Launch(128, 8, halves=True)),
    "tf32x3": (Launch(128, 8), None),
}

_allowed: ContextVar[bool] = ContextVar("kernels of Triton's are allowed", default=True)


@contextmanager
def without_kernels() -> Iterator[None]:
    """A context in which nothing is done by kernels of Triton's."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def supports(like: Tensor) -> bool:
    """Whether there are kernels for a tensor: where it lies, and of its type.

    Not if the environment says ``MOEISR_KERNELS=0``.
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
    """Whether the experts of a network are computed by kernels, given its latent (1, D, h, w)."""
    embedding, width, channels = net.embedding, _width(net), latent.shape[1]
    # What others made of these classes may compute otherwise.
    known = type(embedding) is LIIFEmbedding and {type(expert) for expert in net.expert_list} == {Expert}
    if not (known and channels == _power_of_two(channels) and supports(latent)):
        return False
    products = _products(latent)
    how = _launch(width, products)
    return how is not None and _works(
        _try_decoding, latent.device, width, channels, embedding.radius, latent.dtype, products
    )


def grid_decoder(net: ImplicitSR, latent: Tensor, rel_cell: Tensor) -> GridDecoder:
    """What answers for the output pixels around LR pixels, as `surroundings.grid_decoder` gives it.

    Args:
        net: one that :func:`can_decode` is true of.
        latent: (1, D, h, w).
        rel_cell: (1, 2).
    """
    embedding, experts, products = net.embedding, net.expert_list, _products(latent)
    width, channels = _width(net), latent.shape[1]
    how = _launch(width, products)
    assert how is not None
    assert isinstance(embedding, LIIFEmbedding)
    pack = functools.partial(kernels().pack, channels=channels, width=width, products=products)
    packed = [pack(expert, embedding.parts(expert.first, rel_cell)) for expert in experts]

    def paint(padded: Tensor, groups: Sequence[Tensor], rel_y: Tensor, rel_x: Tensor) -> Tensor:
        answers = rel_y.new_empty(len(rel_y), len(rel_x), rel_y.shape[1], rel_x.shape[1], 3)
        table = padded.new_empty(len(rel_y) * len(rel_x), width)
        latent = padded[0].permute(1, 2, 0).contiguous()  # (h + 2 * radius, w + 2 * radius, D)
        rel_y = rel_y.clone()  # a part of it may lie where another compiled kernel would be needed
        for expert, pixels in zip(packed, groups, strict=True):
            kernels().precompute_first_layer(table, latent, pixels, expert, products=products)
            kernels().decode(answers, table, pixels, rel_y, rel_x, expert, products=products, **how._asdict())
        return answers

    return paint


def kernels() -> ModuleType:
    """The module of that name, for where they suit; it can be imported only where Triton is."""
    return import_module("moeisr_plugin.render.triton_kernels")


def _width(net: ImplicitSR) -> int:
    """How many features kernels compute for an expert, of which some may always be zero."""
    return _power_of_two(net.expert_list[0].first.out_features)


def _power_of_two(width: int) -> int:
    """The least one that is as large, and that a tensor core multiplies."""
    return max(_LEAST_WIDTH, 1 << (width - 1).bit_length())


def _products(like: Tensor) -> str:
    """How kernels multiply: of float32 that is not rounded they take three products of what is."""
    if like.dtype != torch.float32:
        return "ieee"
    return "tf32" if rounds_to_tf32() else "tf32x3"


def _launch(width: int, products: str) -> Launch | None:
    """How experts of a width are computed; None where kernels are no faster."""
    whole, wide = _LAUNCHES[products]
    if width <= _WHOLE_WIDTH:
        return whole
    return wide if width <= 2 * _WHOLE_WIDTH else None


@functools.cache
def _gpu_is_supported(index: int) -> bool:
    """Whether a GPU is one that the kernels are for, and Triton is there."""
    return (
        torch.version.cuda is not None
        and find_spec("triton") is not None
        and torch.cuda.get_device_capability(index) >= _LEAST_CAPABILITY
    )


@functools.cache
def _works(attempt: Callable[..., None], device: torch.device, *how: object) -> bool:
    """Whether a kernel compiles and runs on a device; tried once.

    Triton needs a compiler of C. That a GPU has less room than a kernel needs is nothing to be told about.
    """
    try:
        attempt(device, *how)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except torch.cuda.OutOfMemoryError:  # which passes, and says nothing about the kernel
        raise
    except Exception as error:  # whatever Triton, the compiler or the driver find
        if type(error).__name__ != "OutOfResources":  # Triton's, which may not be there to be imported
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(
                f"a kernel of Triton's does not work here, and rendering goes on without: {reason[:300]}",
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
    side, how = 2 * radius + 1, _launch(width, products)
    assert how is not None
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
    rel, answers = torch.zeros(1, 1, device=device), torch.zeros(1, 1, 1, 3, device=device)
    pixels = torch.zeros(1, dtype=torch.long, device=device)
    kernels().precompute_first_layer(table, latent, pixels, packed, products=products)
    kernels().decode(answers, table, pixels, rel, rel, packed, products=products, **how._asdict())
