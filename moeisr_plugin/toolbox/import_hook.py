"""Apply each repair when the toolbox module that it mends is imported.

The hook is a finder at the front of `sys.meta_path`. It lets the other finders locate a module of the
toolbox, and wraps the execution of that module. Nothing is imported before the toolbox itself is.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

TOOLBOX = "basicsr"

REPAIRS = {
    "basicsr.utils.dist_util": "distributed.mend_dist_util",
    "basicsr.utils.logger": "log_messages.mend_logger",
    "basicsr.utils.options": "options.mend_options",
    "basicsr.data.prefetch_dataloader": "prefetching.mend_prefetch_dataloader",
    "basicsr.models.base_model": "networks.mend_base_model",
    "basicsr.train": "trainer.mend_train",
    "basicsr.test": "options.mend_test",
    # The toolbox's __init__ imports all its modules, so that here all are loaded.
    TOOLBOX: "registration.register_all",
}
"""Functions of this folder by the module that they take once it is loaded; in the order of dependence."""


class ToolboxFinder(MetaPathFinder):
    """Find the modules in `REPAIRS` by the other finders, and repair them as they are executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module to repair; None for every other module."""
        if fullname not in REPAIRS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    repair_on_execution(spec.loader, fullname)
                return spec
        return None


def repair_on_execution(loader: Any, name: str) -> None:
    """Wrap `exec_module` of a loader, which serves this one module.

    The loader keeps its class, so that `runpy` and `inspect` still read the source code through it.
    """
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        if name == TOOLBOX:
            run("importing.make_importable")
        execute(module)
        run(REPAIRS[name], module)

    loader.exec_module = exec_module


def install() -> None:
    """Install the hook once per process, and repair the toolbox at once where it is loaded already."""
    if any(isinstance(finder, ToolboxFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, ToolboxFinder())
    for name, function in REPAIRS.items():
        if name in sys.modules:
            run(function, sys.modules[name])


def run(function: str, *arguments: ModuleType) -> None:
    """Import a function of this folder and call it."""
    module, _, name = function.partition(".")
    getattr(importlib.import_module(f"moeisr_plugin.toolbox.{module}"), name)(*arguments)
