"""What makes the same training faster on some machines."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")

# Which replay one recording of all kernels, in the same memory.
CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")


def allow_tf32(allow: bool | None) -> None:
    """Lets products and convolutions of float32 on NVIDIA GPUs round their factors to 10 bits of mantissa.

    Args:
        allow: none leaves it as it is: torch allows it for convolutions alone.
    """
    if allow is not None:
        torch.set_float32_matmul_precision("high" if allow else "highest")
        torch.backends.cudnn.allow_tf32 = allow


@contextmanager
def without_autotuning() -> Iterator[None]:
    """A context for pictures of many sizes, for each of which cuDNN would try its algorithms.

    The toolbox lets it, which pays in training, where all patches are alike.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def accelerate(net: nn.Module, *, channels_last: bool = False, compiled: bool | str = False) -> nn.Module:
    """Prepares a network for training, in place: its state_dict has the same keys before and after.

    Args:
        net: before it is wrapped for several processes.
        channels_last: store the weights of convolutions with the channels last, and so what they give.
        compiled: compile the network's forward pass in training; a mode of torch.compile, or true for its
            default.

    Raises:
        ValueError: no such mode of torch.compile.
    """
    if channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        mode = "default" if compiled is True else compiled
        if mode not in COMPILE_MODES:
            raise ValueError(f"train.compile is {compiled!r}; give true, false or {', '.join(COMPILE_MODES)}")
        net.compile(mode=mode)
    return net
