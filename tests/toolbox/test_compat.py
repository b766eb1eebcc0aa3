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
import basicsr.train
import pytest
import scipy.ndimage
import torch
import yaml
from basicsr.data.prefetch_dataloader import PrefetchDataLoader
from basicsr.models.base_model import BaseModel
from basicsr.utils import dist_util, options

from moeisr_plugin import compat
from moeisr_plugin.utils.tensor_files import write_tensor_file

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
def parse(tmp_path, monkeypatch, training_options):
    """Gives a function that has the toolbox parse options, with more text at their end, from a file."""

    def parse_file(*arguments: str, extra: str = "") -> dict:
        path = tmp_path / "options.yml"
        path.write_text(yaml.safe_dump(training_options, sort_keys=False) + extra)
        monkeypatch.setattr(sys, "argv", ["train.py", "-opt", str(path), *arguments])
        return basicsr.train.parse_options(str(tmp_path), is_train=True)[0]

    return parse_file


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


def test_options_reach_the_toolbox_ordered_at_every_level(parse, training_options):
    opt = parse()
    for section, written in (
        (opt, training_options),
        (opt["network_g"]["encoder"], training_options["network_g"]["encoder"]),
    ):
        assert isinstance(section, OrderedDict)
        assert list(section)[: len(written)] == list(written)


def test_options_reach_the_toolbox_in_their_types(parse, training_options):
    training_options["train"]["optim_g"]["lr"] = "2e-4"
    opt = parse("--force_yml", "train:total_iter=!!float 1e3", "network_g:expert_depths=[2, 3, 4]")
    assert opt["train"]["optim_g"]["lr"] == 2e-4
    assert opt["train"]["total_iter"] == 1000
    assert opt["network_g"]["expert_depths"] == [2, 3, 4]


def test_forced_values_are_not_evaluated(parse, tmp_path):
    evil = f"[__import__('os').mkdir({str(tmp_path / 'executed')!r})]"
    with pytest.raises(SystemExit, match="2"):
        parse("--force_yml", f"network_g:expert_depths={evil}")
    with pytest.raises(SystemExit, match="2"):
        parse("--force_yml", f'name"]=__import__("os").mkdir("{tmp_path / "executed"}");opt["name=x')
    assert not (tmp_path / "executed").exists()


def test_the_command_line_and_the_loader_are_as_before_once_options_are_parsed(parse):
    loader = options.ordered_yaml()
    parse("--force_yml", "name=other")
    assert sys.argv[-2:] == ["--force_yml", "name=other"]
    assert options.ordered_yaml() == loader


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


def test_what_goes_wrong_while_prefetching_is_raised():
    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index == 2:
                raise ValueError("picture 2 is damaged")
            return index

    batches = iter(PrefetchDataLoader(2, dataset=Pictures(), batch_size=1))
    assert [next(batches).item(), next(batches).item()] == [0, 1]
    with pytest.raises(ValueError, match="picture 2 is damaged"):
        next(batches)


def test_yaml_itself_is_left_alone():
    assert type(yaml.safe_load("a: 1")) is dict
    assert yaml.safe_load("1e-4") == "1e-4"


def test_auto_counts_the_gpus(parse, training_options):
    training_options["num_gpu"] = "auto"
    training_options["datasets"]["train"]["dataset_enlarge_ratio"] = 100
    assert parse()["num_gpu"] == torch.cuda.device_count()


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


@pytest.mark.parametrize("num_gpu", [0, 1])
def test_processes_that_use_no_gpu_meet_over_gloo_though_there_is_one(num_gpu, monkeypatch):
    started = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "init_process_group", started.append)
    monkeypatch.setattr(options, "init_dist", compat.with_gloo(lambda launcher: started.append("nccl")))
    with compat.read_already(OrderedDict(num_gpu=num_gpu), []):
        options.init_dist("pytorch")
    options.init_dist("pytorch")
    assert started == ["gloo" if num_gpu == 0 else "nccl", "nccl"]


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


class Model(BaseModel):
    """Of the toolbox, with all that loading a network needs."""

    def __init__(self):
        pass


def test_networks_are_loaded_from_both_formats_with_or_without_an_entry(tmp_path):
    source = torch.nn.Conv2d(2, 3, 1)
    entry = {f"module.{name}": value for name, value in source.state_dict().items()}
    for name in ("net.pth", "net.safetensors"):
        write_tensor_file(tmp_path / name, {"params": entry})
        for key in ("params", "params_ema", None):
            net = torch.nn.Conv2d(2, 3, 1)
            Model().load_network(net, str(tmp_path / name), param_key=key)  # type: ignore[arg-type]
            torch.testing.assert_close(net.state_dict(), source.state_dict())


def test_a_network_that_does_not_fit_is_told_in_a_line_or_loaded_as_far_as_it_does(tmp_path):
    source, net = torch.nn.Conv2d(2, 3, 1), torch.nn.Conv2d(4, 3, 1)
    write_tensor_file(tmp_path / "net.pth", {"params": source.state_dict()})
    with pytest.raises(
        ValueError, match=r"net\.pth: does not fit Conv2d; of another shape: weight"
    ) as caught:
        Model().load_network(net, str(tmp_path / "net.pth"))
    assert "\n" not in str(caught.value)
    Model().load_network(net, str(tmp_path / "net.pth"), strict=False)
    torch.testing.assert_close(net.bias, source.bias)


def test_nothing_in_a_pretrained_network_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": Harm()}, "net.pth")
    with pytest.raises(ValueError, match=r"net\.pth: not a readable checkpoint"):
        Model().load_network(torch.nn.Conv2d(2, 3, 1), "net.pth")
    assert not (tmp_path / "harm").exists()
