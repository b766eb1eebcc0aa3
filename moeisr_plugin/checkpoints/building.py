"""Build networks no larger than the file that describes them, as a small file can name a huge network."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

SPARE_ELEMENTS = 2**22
SPARE_PARAMETERS = 1024
"""A network that exceeds the file by less is built, so that the message can name what differs."""


@contextmanager
def bounded_by(weights: Mapping[str, Any]) -> Iterator[None]:
    """Stop building a network in this thread when it has more parameters or elements than the weights.

    Args:
        weights: the tensors of the file by name.

    Raises:
        ValueError: from the building code, when a bound is passed.
    """
    tensors = [weight for weight in weights.values() if isinstance(weight, Tensor)]
    elements = sum(tensor.numel() for tensor in tensors) + SPARE_ELEMENTS
    parameters = len(tensors) + SPARE_PARAMETERS
    thread = threading.get_ident()

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal elements, parameters
        if threading.get_ident() != thread or parameter is None:
            return
        elements -= parameter.numel()
        parameters -= 1
        if elements < 0 or parameters < 0:
            raise ValueError(
                "its hyper-parameters describe a network far larger than the weights in the file"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
