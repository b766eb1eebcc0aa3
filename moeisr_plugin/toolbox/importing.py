"""Make the toolbox importable on current versions of Python, torchvision and SciPy."""

import importlib
import importlib.util
import sys
import types
import warnings
from typing import Any

import torch
from torch import library


def make_importable() -> None:
    """Apply all repairs of this module; they do nothing where nothing is broken."""
    mend_torchvision_operators()
    mend_functional_tensor()
    mend_scipy_filters()
    mend_distutils()
    silence_meshgrid()


def mend_torchvision_operators() -> None:
    """Import torchvision, also a CUDA build beside a CPU-only torch.

    The compiled library of that build does not load, and its Python code fails where operators are missing.
    Their schemas are enough: the toolbox uses the Python code alone, except for deformable convolution.

    Mends `import torchvision` in basicsr/archs/arch_util.py:4. Can go when torchvision's default wheel can be
    imported beside any torch of its version.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        for operator in ("torchvision::nms", "torchvision::qnms"):
            if not hasattr(torch.ops.torchvision, operator.removeprefix("torchvision::")):
                library.define(operator, schema)
        importlib.import_module("torchvision")


def mend_functional_tensor() -> None:
    """Provide `torchvision.transforms.functional_tensor`, which torchvision 0.17 removed.

    Mends basicsr/data/degradations.py:8. Can go when the toolbox imports from
    `torchvision.transforms.functional`.
    """
    if is_missing("torchvision.transforms.functional_tensor"):
        functional = importlib.import_module("torchvision.transforms.functional")
        provide("torchvision.transforms.functional_tensor", rgb_to_grayscale=functional.rgb_to_grayscale)


def mend_scipy_filters() -> None:
    """Provide `scipy.ndimage.filters`, which SciPy 2 removes.

    Mends basicsr/metrics/niqe.py:5 and basicsr/data/data_util.py:275. Can go when the toolbox imports from
    `scipy.ndimage`.
    """
    if is_missing("scipy.ndimage.filters"):
        ndimage = importlib.import_module("scipy.ndimage")
        provide("scipy.ndimage.filters", convolve=ndimage.convolve, gaussian_filter=ndimage.gaussian_filter)


def mend_distutils() -> None:
    """Provide `distutils.version`, which Python 3.12 removed, where setuptools does not provide it.

    Mends basicsr/archs/arch_util.py:6, which compares the version of torchvision. Can go when the toolbox
    uses `packaging`.
    """
    if is_missing("distutils"):
        version = importlib.import_module("packaging.version")
        provide("distutils")
        provide("distutils.version", LooseVersion=version.Version)


def silence_meshgrid() -> None:
    """Ignore torch's warning about a missing `indexing` argument; the toolbox wants the default.

    Mends basicsr/archs/swinir_arch.py:125 and arch_util.py:136. Can go when the toolbox passes
    `indexing='ij'`.
    """
    warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release", category=UserWarning)


def is_missing(name: str) -> bool:
    """Return whether importing a module would fail; imports only the packages that contain it."""
    return sys.modules.get(name) is None and importlib.util.find_spec(name) is None


def provide(name: str, **contents: Any) -> None:
    """Make a module with these contents importable as `name`, also as an attribute of its package."""
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module
    package, _, child = name.rpartition(".")
    if package:
        setattr(sys.modules[package], child, module)
