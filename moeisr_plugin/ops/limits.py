"""Limits on the size of a computation step, by device."""

from collections.abc import Mapping

from torch import Tensor


def limit_for(limits: Mapping[str, int], like: Tensor) -> int:
    """Return the limit for the device type of a tensor. Unknown device types have the limit of the CPU."""
    return limits.get(like.device.type, limits["cpu"])
