"""Import code of other authors from a checkout, without a trace in this process."""

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch

Stubs = Mapping[str, Mapping[str, Any]]
"""Contents of modules that stand for imports that are not needed, by name."""

OF_LIIF: Stubs = {
    "tensorboardX": {"SummaryWriter": None},
    "timm": {},
    "timm.models": {},
    "timm.models.layers": dict.fromkeys(("DropPath", "to_2tuple", "trunc_normal_")),
}
"""Imports of LIIF and of what builds on it that are not needed here."""


@contextlib.contextmanager
def importable(
    folder: Path, packages: tuple[str, ...] = ("models", "utils", "datasets"), stubs: Stubs = OF_LIIF
) -> Iterator[None]:
    """Make the modules of a checkout importable. Afterwards the modules and the path are as before.

    Args:
        folder: the checkout.
        packages: names of its top-level modules, which may be those of other packages.
        stubs: modules that replace imports.
    """
    temporary = {*packages, *stubs}
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in temporary}
    path = list(sys.path)
    for name, contents in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.split(".")[0] in temporary]:
            del sys.modules[name]
        sys.modules.update(before)


@contextlib.contextmanager
def without_gpu(device: torch.device) -> Iterator[None]:
    """On a CPU, make ``Tensor.cuda()`` return the tensor unchanged."""
    if device.type != "cpu":
        yield
        return
    with mock.patch.object(torch.Tensor, "cuda", lambda tensor: tensor):
        yield
