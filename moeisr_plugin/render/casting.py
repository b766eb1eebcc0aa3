"""Numeric precision of rendering."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.ops.int8_support import obstacle
from moeisr_plugin.ops.linear import onednn_supports
from moeisr_plugin.ops.precision import PRECISIONS, without_autocast
from moeisr_plugin.render.int8_network import int8_parts

_LOG = logging.getLogger("moeisr_plugin")

INT8 = "int8"
"""Weights and activations of 8 bits where :mod:`.int8_network` has them, on a CPU. The rest is in float32."""
TF32 = "tf32"
"""float32, but NVIDIA GPUs round the factors of products to a mantissa of 10 bits."""


def to_precision(net: ImplicitNetwork, precision: str) -> ImplicitNetwork:
    """Cast the parameters of a network in place.

    Parts that need more precision keep their type, for example the angles of LTE. Coordinates, weights of the
    local ensemble and colours stay in float32.

    `INT8` keeps the parameters in float32, and adds 8-bit copies for rendering. Later changes of the
    parameters do not reach them.

    Args:
        net: the network. For `INT8`, on a CPU.
        precision: a key of `PRECISIONS`, `TF32` or `INT8`.

    Returns:
        The same network.

    Raises:
        ValueError: If the precision is unknown, or this machine or the weights do not allow `INT8`.
    """
    _check_known(precision)
    net.allow_tf32, net.int8 = precision == TF32, None
    dtype = PRECISIONS.get(precision, torch.float32)
    kept = net.precise_parts
    for name, module in net.named_modules():
        if not any(name == part or name.startswith(f"{part}.") for part in kept):
            for parameter in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                if parameter.is_floating_point():
                    parameter.data = parameter.data.to(dtype)
    if precision == INT8:
        reason = int8_obstacle(next(net.parameters()).device)
        if reason is not None:
            raise ValueError(f"precision int8: {reason}")
        net.int8 = int8_parts(net)
    return net


def supported_precision(precision: str, device: torch.device) -> str:
    """Return a precision that a device supports: the given one, or bfloat16 or float32 instead of `INT8`.

    A warning in the log states the replacement.

    Raises:
        ValueError: If the precision is unknown.
    """
    _check_known(precision)
    reason = int8_obstacle(device) if precision == INT8 else None
    if reason is None:
        return precision
    replacement = "bfloat16" if _computes_in_bfloat16(device) else "float32"
    _LOG.warning(f"precision int8: {reason}; using {replacement}")
    return replacement


def int8_obstacle(device: torch.device) -> str | None:
    """Return why a device cannot compute in `INT8`, or None if it can."""
    return obstacle() if device.type == "cpu" else "a GPU does not support it"


def _check_known(precision: str) -> None:
    known = (*PRECISIONS, TF32, INT8)
    if precision not in known:
        raise ValueError(f"precision is {precision!r}; give {', '.join(known)}")


def _computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and onednn_supports(torch.bfloat16)


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
