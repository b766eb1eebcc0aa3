"""Reusable scratch buffers."""

import math

import torch
from torch import Tensor


class Workspace:
    """Named scratch buffers. Reusing memory is often faster than allocating it for each block."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def empty(self, name: str, shape: tuple[int, ...], *, like: Tensor) -> Tensor:
        """Return an uninitialised contiguous tensor of the type and device of another tensor.

        It overwrites the tensor that an earlier call returned for the same name.
        """
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if (
            buffer is None
            or buffer.numel() < size
            or buffer.dtype != like.dtype
            or buffer.device != like.device
        ):
            buffer = self._buffers[name] = torch.empty(size, dtype=like.dtype, device=like.device)
        return buffer[:size].view(shape)
