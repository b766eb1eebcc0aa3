"""Refuse to load PyTorch where a limit leaves too little address space for its libraries."""

import importlib.util
import sys
from pathlib import Path

from moeisr_plugin.utils.available_memory import available_addresses
from moeisr_plugin.utils.shortage import in_bytes

BESIDE_LIBRARIES = 2 * 10**8
"""Bytes that PyTorch and a small network take beside the libraries, rounded up."""


def require_memory_for_torch() -> None:
    """Raise `ValueError` if PyTorch cannot be loaded under ``ulimit -v``, in one line.

    Constructors of its libraries end the process where they get no memory, so no exception can be reported.
    """
    available = available_addresses()
    if available is None or "torch" in sys.modules:
        return
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return
    libraries = Path(spec.origin).with_name("lib").glob("*.so*")
    needed = sum(path.stat().st_size for path in libraries) + BESIDE_LIBRARIES
    if available < needed:
        raise ValueError(
            f"PyTorch needs about {in_bytes(needed)} of memory, but {in_bytes(available)} are available; "
            "raise the limit (ulimit -v)"
        )
