"""In which numbers a network computes, and what must not become coarse where it does so in 16 bits."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""By the names that users ask for them by; the default, float32, is exact."""


def without_autocast(like: Tensor) -> AbstractContextManager:
    """A context without autocast on a tensor's device: numbers are computed with in the types they have."""
    device = like.device.type
    known = torch.amp.is_autocast_available(device)  # not so of meta tensors
    return torch.autocast(device, enabled=False) if known else nullcontext()


def at_least_float32(numbers: Tensor) -> Tensor:
    """The tensor itself, or in float32 where it has 16 bits."""
    return numbers.to(float32_or_better(numbers))


def float32_or_better(like: Tensor) -> torch.dtype:
    """The type of a tensor, or float32 where that has 16 bits, which cannot tell coordinates apart."""
    return torch.promote_types(like.dtype, torch.float32)
