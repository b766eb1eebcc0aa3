"""How much is computed at a time, which depends on where."""

from collections.abc import Mapping

from torch import Tensor


def limit_for(limits: Mapping[str, int], like: Tensor) -> int:
    """The limit for a tensor's type of device; a type that is not known has the processor's."""
    return limits.get(like.device.type, limits["cpu"])
