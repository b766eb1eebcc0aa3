"""Read option files safely and check all of them before anything is built or written.

Reading (`parse`) needs no toolbox. The check imports it when one of the names below is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checking import OptionsError, Problem, check
    from .command_line import options_of_command
    from .runs import Run

_MODULES = {
    "OptionsError": "checking",
    "Problem": "checking",
    "Run": "runs",
    "check": "checking",
    "options_of_command": "command_line",
}

__all__ = ["OptionsError", "Problem", "Run", "check", "options_of_command"]


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` from its module (PEP 562)."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
