"""Options that speed up a training: TF32, cuDNN autotuning, memory format and torch.compile."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")

# Modes that use CUDA graphs.
CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")


def allow_tf32(allow: bool | None) -> None:
    """Allow or forbid TF32 (10 bits of mantissa) in float32 matrix products and convolutions on NVIDIA GPUs.

    Args:
        allow: None keeps the defaults of torch: allowed in convolutions, forbidden in products.
    """
    if allow is not None:
        torch.set_float32_matmul_precision("high" if allow else "highest")
        torch.backends.cudnn.allow_tf32 = allow


@contextmanager
def without_autotuning() -> Iterator[None]:
    """Disable the autotuning of cuDNN, which would benchmark its algorithms for every new picture size.

    The toolbox enables it for training, where all patches have the same size.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def accelerate(net: nn.Module, *, channels_last: bool = False, compiled: bool | str = False) -> nn.Module:
    """Prepare a network for training, in place; the keys of its state_dict do not change.

    Args:
        net: the network, not wrapped for several processes.
        channels_last: use the memory format channels_last for the weights and outputs of convolutions.
        compiled: compile the forward pass; a mode of torch.compile, or true for the default mode.

    Raises:
        ValueError: the mode of torch.compile is unknown.
    """
    if channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        mode = "default" if compiled is True else compiled
        if mode not in COMPILE_MODES:
            raise ValueError(f"train.compile is {compiled!r}; give true, false or {', '.join(COMPILE_MODES)}")
        net.compile(mode=mode)
    return net
