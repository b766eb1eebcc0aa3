"""Import modules that register classes of other packages: encoders, networks, losses, data sets, metrics.

A module runs code. So only the user names modules: on the command line, in an option file, or by installing a
package with an entry point. Checkpoints are never a source of names.
"""

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

ENTRY_POINTS = "moeisr_plugin.plugins"
"""Group of the entry points whose modules are imported where a name is looked up."""

OPTION = "import"
"""Key of option files with a list of modules."""


def import_modules(modules: Any) -> None:
    """Import modules by name, or from Python files.

    Args:
        modules: names such as ``my_package.my_encoder``, and paths that end in ``.py``. None imports nothing.

    Raises:
        ValueError: the argument is no list of names, or a module cannot be imported; one line.
    """
    modules = [modules] if isinstance(modules, str) else modules or []
    if not isinstance(modules, Sequence) or not all(isinstance(module, str) for module in modules):
        raise ValueError(f"is {modules!r}; give a list of modules, such as [my_package.my_encoder]")
    for module in modules:
        try:
            _import_file(Path(module)) if module.endswith(".py") else _import_name(module)
        except Exception as error:  # the module's own code may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"{module} cannot be imported ({reason})") from error


def import_installed() -> None:
    """Import the modules of installed packages with an entry point in `ENTRY_POINTS`.

    A module that fails is reported by a warning, because most commands do not need it.
    """
    for entry_point in entry_points(group=ENTRY_POINTS):
        try:
            entry_point.load()
        except Exception as error:  # the module's own code may raise anything
            package = entry_point.dist.name if entry_point.dist else "a package"
            warnings.warn(
                f"{package}: its plugin {entry_point.value} cannot be imported "
                f"({type(error).__name__}: {error})",
                stacklevel=2,
            )


def _import_name(name: str) -> None:
    """Import a module by name. The current directory is searched last."""
    _search(os.getcwd())
    importlib.import_module(name)


def _import_file(path: Path) -> None:
    """Import a file under its own name, so that spawned data workers find its classes again.

    Raises:
        ValueError: there is no such file, or another module has its name.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise ValueError("no such file")
    _search(str(path.parent))
    found = importlib.util.find_spec(path.stem)
    if found is None or found.origin is None or Path(found.origin).resolve() != path:
        other = found.origin if found else "nothing"
        raise ValueError(f"its name {path.stem} belongs to {other}; rename the file")
    importlib.import_module(path.stem)


def _search(folder: str) -> None:
    """Append a folder to the folders that Python searches."""
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
