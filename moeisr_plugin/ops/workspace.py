"""Memory that serves one block of queries after another."""

import math

import torch
from torch import Tensor


class Workspace:
    """Tensors by name, whose memory is used again: new memory can cost more than what is written to it."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def empty(self, name: str, shape: tuple[int, ...], *, like: Tensor) -> Tensor:
        """A contiguous tensor of another's type and device; what was taken by this name before is lost."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.numel() < size or held.dtype != like.dtype or held.device != like.device:
            held = self._held[name] = torch.empty(size, dtype=like.dtype, device=like.device)
        return held[:size].view(shape)
