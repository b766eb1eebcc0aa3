"""Numeric precision of rendering."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.ops.precision import PRECISIONS, without_autocast

TF32 = "tf32"
"""float32, but NVIDIA GPUs round the factors of products to a mantissa of 10 bits."""


def to_precision(net: ImplicitNetwork, precision: str) -> ImplicitNetwork:
    """Cast the parameters of a network in place.

    Parts that need more precision keep their type, for example the angles of LTE. Coordinates, weights of the
    local ensemble and colours stay in float32.

    Args:
        net: the network.
        precision: a key of `PRECISIONS`, or `TF32`.

    Returns:
        The same network.

    Raises:
        ValueError: If the precision is unknown.
    """
    known = (*PRECISIONS, TF32)
    if precision not in known:
        raise ValueError(f"precision is {precision!r}; give {', '.join(known)}")
    net.allow_tf32 = precision == TF32
    dtype = PRECISIONS["float32" if net.allow_tf32 else precision]
    kept = net.precise_parts
    for name, module in net.named_modules():
        if not any(name == part or name.startswith(f"{part}.") for part in kept):
            for parameter in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                if parameter.is_floating_point():
                    parameter.data = parameter.data.to(dtype)
    return net


def require_finite(net: ImplicitNetwork, picture: Tensor) -> None:
    """Check that a rendered image has only finite values.

    Raises:
        ValueError: If the image contains NaN or Inf.
    """
    if picture.isfinite().all():
        return
    cause = "its weights are damaged"
    dtype = next(net.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        cause += f", or too large for {str(dtype).removeprefix('torch.')}: try precision float32"
    raise ValueError(f"the output of the network contains NaN or Inf; {cause}")


def float32_products(net: ImplicitNetwork, like: Tensor) -> AbstractContextManager[None]:
    """Return a context in which matrix products and convolutions on a GPU use the same precision.

    They use TF32 if the network or torch's setting for matrix products allows it. Without this context, torch
    uses TF32 for convolutions by default. The context does nothing on a CPU, or if the settings of torch 2.9
    (``fp32_precision``) are in use and differ.

    Args:
        net: network with the attribute `allow_tf32`.
        like: a tensor on the device of rendering.
    """
    if like.device.type != "cuda":
        return nullcontext()
    try:
        products_use_tf32, _ = _allowed_tf32()
    except RuntimeError:  # torch 2.9 cannot express its new settings by the old ones
        return nullcontext()
    return rounded_to_tf32(net.allow_tf32 or products_use_tf32)


@contextmanager
def rendering(net: ImplicitNetwork, latent: Tensor) -> Iterator[None]:
    """Return the context in which a decoder is evaluated."""
    with torch.inference_mode(), without_autocast(latent), float32_products(net, latent):
        yield


def rounds_to_tf32() -> bool:
    """Return whether torch's settings allow TF32 for matrix products on a GPU."""
    try:
        return _allowed_tf32()[0]
    except RuntimeError:  # torch 2.9 cannot express its new settings by the old ones
        return getattr(torch.backends.cuda.matmul, "fp32_precision", "ieee") == "tf32"


@contextmanager
def rounded_to_tf32(allowed: bool) -> Iterator[None]:
    """Return a context in which matrix products and convolutions on GPUs may use TF32, or must not."""
    before = _allowed_tf32()
    try:
        _allow_tf32(allowed, allowed)
        yield
    finally:
        _allow_tf32(*before)


def _allowed_tf32() -> tuple[bool, bool]:
    """Return whether torch's settings allow TF32 for matrix products and for convolutions."""
    return bool(torch.backends.cuda.matmul.allow_tf32), torch.backends.cudnn.allow_tf32


def _allow_tf32(products: bool, convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, convolutions
