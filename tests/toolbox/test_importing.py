"""Each repair is tested against the failure that it mends."""

import importlib
import sys
import warnings

import pytest
import scipy.ndimage
import torch

from moeisr_plugin.toolbox import importing


def test_torchvision_operators_are_defined_only_where_they_are_missing(tmp_path, warm):
    # Like the CUDA build beside a CPU-only torch, this torchvision fails at operators that are not defined.
    (tmp_path / "torchvision.py").write_text(
        "import builtins, torch\n"
        "if builtins.broken:\n"
        "    for name in ('nms', 'qnms'):\n"
        "        torch._C._dispatch_has_kernel_for_dispatch_key(f'torchvision::{name}', 'Meta')\n"
    )
    code = (
        "import builtins, sys, torch\n"
        "from moeisr_plugin.toolbox import importing\n"
        "for builtins.broken in (False, True, True):\n"
        "    importing.mend_torchvision_operators()\n"
        "    print(sys.modules.pop('torchvision').__file__ is not None, end=' ')\n"
        "    print(hasattr(torch.ops.torchvision, 'nms'), hasattr(torch.ops.torchvision, 'qnms'))\n"
    )
    done = warm.run("-c", code, first_path=str(tmp_path))
    assert done.stdout.splitlines() == ["True False False", "True True True", "True True True"], done.stderr


def test_another_failure_of_torchvision_is_not_hidden(monkeypatch):
    def fail(name):
        raise RuntimeError("something else")

    monkeypatch.setattr(importing.importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="something else"):
        importing.mend_torchvision_operators()


def test_functional_tensor_holds_the_greyscale_function_of_torchvision():
    from torchvision.transforms import functional
    from torchvision.transforms.functional_tensor import rgb_to_grayscale  # pyright: ignore[reportMissingImports]

    image = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rgb_to_grayscale(image), functional.rgb_to_grayscale(image))


def test_scipy_filters_are_provided(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage.filters", None)  # as if SciPy had removed it
    monkeypatch.delattr(scipy.ndimage, "filters", raising=False)
    with pytest.raises(ImportError):
        from scipy.ndimage.filters import convolve
    importing.mend_scipy_filters()
    from scipy.ndimage import filters
    from scipy.ndimage.filters import convolve

    assert convolve is scipy.ndimage.convolve
    assert filters.gaussian_filter is scipy.ndimage.gaussian_filter


def test_distutils_version_is_provided(monkeypatch):
    monkeypatch.setitem(sys.modules, "distutils", None)
    monkeypatch.setitem(sys.modules, "distutils.version", None)
    with pytest.raises(ImportError):
        importlib.import_module("distutils.version")
    importing.mend_distutils()
    version = importlib.import_module("distutils.version").LooseVersion
    assert version("0.28.0+cpu") >= version("0.9.0") > version("0.8.2")


def test_a_module_that_exists_is_left_alone(monkeypatch):
    monkeypatch.setattr(importing, "provide", lambda *_, **__: pytest.fail("a module was replaced"))
    importing.mend_functional_tensor()
    importing.mend_scipy_filters()
    importing.mend_distutils()


def test_meshgrid_warning_is_silenced_and_others_are_not():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        importing.silence_meshgrid()
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required", UserWarning, stacklevel=1
        )
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["something else"]
