"""What must not become coarse where autocast makes a network compute in 16 bits."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def as_they_are(like: Tensor) -> AbstractContextManager:
    """A context without autocast on a tensor's device: numbers are computed with in the types they have."""
    device = like.device.type
    known = torch.amp.is_autocast_available(device)  # not so of meta tensors
    return torch.autocast(device, enabled=False) if known else nullcontext()


def at_least_float32(numbers: Tensor) -> Tensor:
    """The tensor itself, or in float32 where it has 16 bits."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))
