"""Each patch is tested against the failure it mends; what must start afresh runs in a process of its own."""

import importlib
import os
import socket
import subprocess
import sys
import warnings
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import moeisr_plugin  # isort: skip  (before basicsr, which it mends)
import basicsr.test
import basicsr.train
import pytest
import scipy.ndimage
import torch
import yaml
from basicsr.utils import dist_util, options

from moeisr_plugin import compat

ROOT = Path(moeisr_plugin.__file__).parents[1]
# compat alone, without the rest of the package, which would import the toolbox
LOAD_COMPAT = (
    "import importlib.util, sys\n"
    "spec = importlib.util.spec_from_file_location('compat', sys.argv[1])\n"
    "compat = importlib.util.module_from_spec(spec)\n"
    "spec.loader.exec_module(compat)\n"
)


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs code in a process of its own, with this package importable."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120)


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """Gives a function that writes option text to a file and has the toolbox parse it."""

    def parse_text(text: str, *arguments: str) -> dict:
        path = tmp_path / "options.yml"
        path.write_text(text)
        monkeypatch.setattr(sys, "argv", ["train.py", "-opt", str(path), *arguments])
        return basicsr.train.parse_options(str(tmp_path), is_train=True)[0]

    return parse_text


def option_text(num_gpu: int | str = 0, extra: str = "") -> str:
    return f"name: try\nnum_gpu: {num_gpu}\nmanual_seed: 0\ndatasets: {{}}\npath: {{}}\n{extra}"


# What keeps the toolbox from being imported


def test_a_fresh_process_imports_the_toolbox_without_a_word():
    done = run_python("import moeisr_plugin, basicsr.train, torchvision; print(basicsr.__version__)")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1.4")


def test_torchvision_operators_are_defined_only_where_they_are_missing(tmp_path):
    # A stand-in for torchvision that, like the CUDA build on a CPU, asks for operators nobody has defined.
    (tmp_path / "torchvision.py").write_text(
        "import builtins, torch\n"
        "if builtins.broken:\n"
        "    for name in ('nms', 'qnms'):\n"
        "        torch._C._dispatch_has_kernel_for_dispatch_key(f'torchvision::{name}', 'Meta')\n"
    )
    code = LOAD_COMPAT + (
        "import builtins, torch\n"
        "for builtins.broken in (False, True, True):\n"
        "    compat.mend_torchvision_operators()\n"
        "    print(sys.modules.pop('torchvision').__file__ is not None, end=' ')\n"
        "    print(hasattr(torch.ops.torchvision, 'nms'), hasattr(torch.ops.torchvision, 'qnms'))\n"
    )
    done = run_python(code, compat.__file__, PYTHONPATH=str(tmp_path))
    assert done.stdout.splitlines() == ["True False False", "True True True", "True True True"], done.stderr


def test_another_failure_of_torchvision_is_not_hidden(monkeypatch):
    def fail(name):
        raise RuntimeError("something else")

    monkeypatch.setattr(compat.importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="something else"):
        compat.mend_torchvision_operators()


def test_functional_tensor_gives_torchvisions_own_greyscale():
    from torchvision.transforms import functional
    from torchvision.transforms.functional_tensor import rgb_to_grayscale  # pyright: ignore[reportMissingImports]

    image = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rgb_to_grayscale(image), functional.rgb_to_grayscale(image))


def test_scipy_filters_are_given_back(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage.filters", None)  # as if SciPy had removed it
    monkeypatch.delattr(scipy.ndimage, "filters", raising=False)
    with pytest.raises(ImportError):
        from scipy.ndimage.filters import convolve
    compat.mend_scipy_filters()
    from scipy.ndimage import filters
    from scipy.ndimage.filters import convolve

    assert convolve is scipy.ndimage.convolve
    assert filters.gaussian_filter is scipy.ndimage.gaussian_filter


def test_distutils_version_is_given_back(monkeypatch):
    monkeypatch.setitem(sys.modules, "distutils", None)
    monkeypatch.setitem(sys.modules, "distutils.version", None)
    with pytest.raises(ImportError):
        importlib.import_module("distutils.version")
    compat.mend_distutils()
    version = importlib.import_module("distutils.version").LooseVersion
    assert version("0.28.0+cpu") >= version("0.9.0") > version("0.8.2")


def test_a_module_that_exists_is_left_alone(monkeypatch):
    monkeypatch.setattr(compat, "provide", lambda *_, **__: pytest.fail("a module was replaced"))
    compat.mend_functional_tensor()
    compat.mend_scipy_filters()
    compat.mend_distutils()


def test_meshgrid_warning_is_silenced_and_others_are_not():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compat.silence_meshgrid()
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required", UserWarning, stacklevel=1
        )
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["something else"]


def test_applying_again_changes_nothing():
    patched = (
        basicsr.train.parse_options,
        options.init_dist,
        options.ordered_yaml,
        basicsr.train.load_resume_state,
        basicsr.train.make_exp_dirs,
        basicsr.train.create_train_val_dataloader,
    )
    compat.apply()
    again = (
        basicsr.train.parse_options,
        options.init_dist,
        options.ordered_yaml,
        basicsr.train.load_resume_state,
        basicsr.train.make_exp_dirs,
        basicsr.train.create_train_val_dataloader,
    )
    assert all(one is other for one, other in zip(patched, again, strict=True))


# Options


def test_python_tags_in_options_are_refused_unexecuted(parse, tmp_path):
    target = tmp_path / "executed"
    text = option_text(extra=f"evil: !!python/object/apply:os.system ['touch {target}']\n")
    with pytest.raises(yaml.constructor.ConstructorError, match=r"options\.yml"):
        parse(text)
    assert not target.exists()


def test_options_stay_ordered_at_every_level(parse):
    opt = parse(option_text(extra="z: {b: 1, a: {d: 1, c: 2}}\n"))
    assert isinstance(opt, OrderedDict)
    assert isinstance(opt["z"]["a"], OrderedDict)
    assert list(opt["z"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("!!float 2e-4", 2e-4),
        ("-3E5", -3e5),
        ("1.e4", 1e4),
        ("1.5e5", 1.5e5),
        ("1.0e-4", 1e-4),
        ("48", 48),
        ("0.5", 0.5),
        ("~", None),
        ("true", True),
        ("[1, 4]", [1, 4]),
        ("1e4x", "1e4x"),
        ("'1e4'", "1e4"),
        ("e4", "e4"),
        ("~/data", "~/data"),
    ],
)
def test_values_are_read_as_users_of_the_toolbox_write_them(text, value):
    loader, _ = options.ordered_yaml()
    read = yaml.load(f"key: {text}", Loader=loader)["key"]
    assert (read, type(read)) == (value, type(value))


def test_what_is_dumped_is_read_back():
    loader, dumper = options.ordered_yaml()
    opt = OrderedDict(b=1, a=OrderedDict(lr=1e-4, names=["x"]))
    assert yaml.load(yaml.dump(opt, Dumper=dumper, sort_keys=False), Loader=loader) == opt


def test_yaml_itself_is_left_alone():
    assert type(yaml.safe_load("a: 1")) is dict
    assert yaml.safe_load("1e-4") == "1e-4"


def test_more_gpus_than_there_are_is_one_clear_line(parse):
    with pytest.raises(ValueError, match=r"options\.yml: num_gpu is 99.*num_gpu: 0") as caught:
        parse(option_text(num_gpu=99))
    assert "\n" not in str(caught.value)


def test_auto_counts_the_gpus(parse):
    assert parse(option_text(num_gpu="auto"))["num_gpu"] == torch.cuda.device_count()


def test_testing_checks_the_gpus_too(tmp_path, monkeypatch):
    path = tmp_path / "test.yml"
    path.write_text(option_text(num_gpu=99))
    monkeypatch.setattr(sys, "argv", ["test.py", "-opt", str(path)])
    with pytest.raises(ValueError, match="num_gpu is 99"):
        basicsr.test.test_pipeline(str(tmp_path))


# Distributed


def test_two_processes_meet_over_gloo_without_cuda():
    code = LOAD_COMPAT + (
        "import torch\n"
        "compat.with_gloo(None)('pytorch')\n"
        "total = torch.tensor([torch.distributed.get_rank() + 1.0])\n"
        "torch.distributed.all_reduce(total)\n"
        "print(torch.distributed.get_backend(), total.item(), torch.multiprocessing.get_start_method())\n"
        "torch.distributed.destroy_process_group()\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda rank: run_python(code, compat.__file__, RANK=rank, **settings), "01"))
    assert [done.stdout.split() for done in both] == [["gloo", "3.0", "spawn"]] * 2, both[0].stderr


@pytest.mark.parametrize("module", [dist_util, options])
def test_slurm_without_cuda_is_refused_in_one_line(module, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torchrun"):
        module.init_dist("slurm")


def test_with_cuda_the_toolboxs_own_function_runs(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    compat.with_gloo(lambda *arguments, **keywords: calls.append((arguments, keywords)))(
        "slurm", "nccl", port=1
    )
    assert calls == [(("slurm", "nccl"), {"port": 1})]
