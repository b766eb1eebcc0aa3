"""Numeric types of a network, and contexts for operations that need at least float32."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Types of parameters and latents by their option name. The default is float32."""


def without_autocast(like: Tensor) -> AbstractContextManager:
    """Return a context that disables autocast on the device of a tensor."""
    device = like.device.type
    known = torch.amp.is_autocast_available(device)  # False for meta tensors
    return torch.autocast(device, enabled=False) if known else nullcontext()


def at_least_float32(numbers: Tensor) -> Tensor:
    """Convert tensors of 16 bits to float32. Return others unchanged."""
    return numbers.to(float32_or_better(numbers))


def float32_or_better(like: Tensor) -> torch.dtype:
    """Return the type of a tensor, or float32 if it has 16 bits, which cannot resolve coordinates."""
    return torch.promote_types(like.dtype, torch.float32)
