"""Arbitrary-scale super-resolution by a mixture of implicit decoders, as a plugin for BasicSR.

Importing this package loads neither torch nor BasicSR. It installs an import hook: when ``basicsr`` is
imported, it is repaired for current versions of its dependencies, and the networks, losses, datasets, models
and metrics of this package are registered with it. Import this package before ``basicsr`` if the toolbox
cannot be imported without repairs.
"""

from moeisr_plugin.utils import early_signals

early_signals.end_program_on_signals()  # before the imports, which take long

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from moeisr_plugin.toolbox import import_hook  # noqa: E402

if TYPE_CHECKING:
    from moeisr_plugin import archs, data, losses, metrics, models
    from moeisr_plugin.upscaler import Upscaler

__version__ = "0.1.0"

__all__ = ["Upscaler", "__version__", "archs", "data", "losses", "metrics", "models"]

import_hook.install()


def __getattr__(name: str) -> Any:
    """Import `Upscaler` and the packages in `__all__` when they are first used (PEP 562)."""
    if name == "Upscaler":
        return importlib.import_module("moeisr_plugin.upscaler").Upscaler
    if name in __all__:
        return importlib.import_module(f"moeisr_plugin.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
