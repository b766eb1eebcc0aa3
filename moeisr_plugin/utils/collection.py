"""Cyclic garbage collection while PyTorch is imported, and after."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch_exempt_from_collection() -> Iterator[None]:
    """Import torch without garbage collection, and exempt what was imported from later collections.

    Torch creates about a million objects that live as long as the process. Visiting them while it is imported
    and when the process ends takes 0.5 s. If torch is loaded already, nothing changes.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
