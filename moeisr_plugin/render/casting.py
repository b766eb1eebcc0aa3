"""In which numbers a network renders."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.precision import PRECISIONS

TF32 = "tf32"
"""float32, but on NVIDIA GPUs factors of products are rounded to 10 bits of mantissa."""


def to_precision(net: ImplicitSR, precision: str) -> ImplicitSR:
    """The network itself, its parameters cast but for those of the embedding that must not be coarse.

    Coordinates, weights of the local ensemble and colours stay in float32, and so do the angles of LTE.

    Args:
        net: the network.
        precision: one of `PRECISIONS`, or `TF32`.

    Raises:
        ValueError: if it is none of them.
    """
    known = (*PRECISIONS, TF32)
    if precision not in known:
        raise ValueError(f"precision is {precision!r}; give {', '.join(known)}")
    net.allow_tf32 = precision == TF32
    dtype = PRECISIONS["float32" if net.allow_tf32 else precision]
    kept = {f"embedding.{part}" for part in net.embedding.precise_parts}
    for name, module in net.named_modules():
        if name not in kept:
            for parameter in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                if parameter.is_floating_point():
                    parameter.data = parameter.data.to(dtype)
    return net


def require_finite(net: ImplicitSR, picture: Tensor) -> None:
    """Refuses what a network has rendered if it is no picture.

    Raises:
        ValueError: NaN or Inf in it.
    """
    if picture.isfinite().all():
        return
    cause = "its weights are damaged"
    dtype = next(net.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        cause += f", or too large for {str(dtype).removeprefix('torch.')}: try precision float32"
    raise ValueError(f"the network answers with NaN or Inf; {cause}")


def float32_products(net: ImplicitSR, like: Tensor) -> AbstractContextManager[None]:
    """A context in which products and convolutions on a tensor's GPU round to TF32, or do not, both alike.

    They do if the network allows it, or torch's switch for products does; the one for convolutions is on if
    nobody asks. Whoever has set the new switches of torch 2.9 keeps what they say.
    """
    if like.device.type != "cuda":
        return nullcontext()
    try:
        products_are, _ = _allowed_tf32()
    except RuntimeError:  # only the new switches can tell
        return nullcontext()
    return rounded_to_tf32(net.allow_tf32 or products_are)


def rounds_to_tf32() -> bool:
    """Whether products of float32 on GPUs round to TF32 as torch's switches are."""
    try:
        return _allowed_tf32()[0]
    except RuntimeError:  # only the new switches can tell
        return getattr(torch.backends.cuda.matmul, "fp32_precision", "ieee") == "tf32"


@contextmanager
def rounded_to_tf32(allowed: bool) -> Iterator[None]:
    """A context in which products and convolutions of float32 on GPUs round to TF32, or do not."""
    before = _allowed_tf32()
    try:
        _allow_tf32(allowed, allowed)
        yield
    finally:
        _allow_tf32(*before)


def _allowed_tf32() -> tuple[bool, bool]:
    """Whether products and convolutions may round."""
    return bool(torch.backends.cuda.matmul.allow_tf32), torch.backends.cudnn.allow_tf32


def _allow_tf32(products: bool, convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, convolutions
