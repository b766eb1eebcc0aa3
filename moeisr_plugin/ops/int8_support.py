"""Whether this machine computes with 8-bit codes, fast and exactly."""

import functools

import torch
from torch import nn

from moeisr_plugin.ops import int8
from moeisr_plugin.ops.int8 import UNIT, Int8Convolution, Int8Linear


@functools.cache
def obstacle() -> str | None:
    """Return why this machine cannot compute with 8-bit codes, or None if it can, fast and exactly."""
    if not hasattr(int8.onednn, "qconv2d_pointwise") or not torch.backends.mkldnn.is_available():
        return "this PyTorch lacks the operators of oneDNN"
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not _has_vnni():
        return "this CPU lacks AVX-512 VNNI"
    return None if _is_exact() else "oneDNN does not compute exactly with 8-bit codes here"


def _has_vnni() -> bool:
    names = ("_is_vnni_supported", "_is_avx512_vnni_supported")  # in different versions of torch
    return any(getattr(torch.cpu, name, bool)() for name in names)


def _is_exact() -> bool:
    """Return whether both operators work, and sum the largest products without saturating.

    Instructions for CPUs without VNNI saturate sums of two products at 16 bits.
    """
    channels = 64
    ones = torch.ones(channels, channels)
    codes = torch.full((1, channels, 2, 2), 255, dtype=torch.uint8)
    point = nn.Conv2d(channels, channels, 1)
    try:
        of_convolution = Int8Convolution(point, ones[..., None, None], ones[0], source=UNIT)(codes)
        of_linear = Int8Linear(ones, ones[0], source=UNIT)(codes[0].flatten(1).t().contiguous())
    except (RuntimeError, AttributeError, TypeError):  # another version of torch, with other arguments
        return False
    exact = torch.tensor(float(channels * 255 + 1))
    return all(torch.allclose(found, exact, rtol=1e-5) for found in (of_convolution, of_linear))
