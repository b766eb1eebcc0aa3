"""Everything that makes BasicSR 1.4.2 import and run on today's stack, one small function per patch.

`apply()` runs on `import moeisr_plugin`, so that import is all a program, or a spawned data worker, needs
before it imports basicsr. Each patch names the line of the toolbox it mends and when it can go; where nothing
is broken it does nothing. Line numbers are those of BasicSR 1.4.2.
"""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import re
import sys
import types
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import yaml
from torch import library


@functools.cache
def apply() -> None:
    """Applies every patch, once per process.

    Imports torchvision and the whole of basicsr: the toolbox's top package imports all its parts anyway.
    """
    mend_torchvision_operators()
    mend_functional_tensor()
    mend_scipy_filters()
    mend_distutils()
    silence_meshgrid()
    # From here on basicsr can be imported, and the rest patches what it defines.
    mend_yaml_loader()
    mend_parse_options()
    mend_copy_opt_file()
    mend_init_dist()
    mend_load_resume_state()
    mend_load_network()
    mend_make_exp_dirs()
    mend_sample_order()
    mend_prefetching()


# What keeps the toolbox from being imported


def mend_torchvision_operators() -> None:
    """Lets a CUDA build of torchvision be imported beside a CPU-only torch.

    Its compiled library does not load there, and torchvision stumbles over the operators that are not there.
    Their schemas suffice: all the toolbox uses of torchvision is pure Python, but for deformable convolution.

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
    """Gives back `torchvision.transforms.functional_tensor`, removed in torchvision 0.17.

    Mends basicsr/data/degradations.py:8. Can go when the toolbox imports from
    `torchvision.transforms.functional`.
    """
    if is_missing("torchvision.transforms.functional_tensor"):
        functional = importlib.import_module("torchvision.transforms.functional")
        provide("torchvision.transforms.functional_tensor", rgb_to_grayscale=functional.rgb_to_grayscale)


def mend_scipy_filters() -> None:
    """Gives back `scipy.ndimage.filters`, to be removed in SciPy 2.

    Mends basicsr/metrics/niqe.py:5 and basicsr/data/data_util.py:275. Can go when the toolbox imports from
    `scipy.ndimage`.
    """
    if is_missing("scipy.ndimage.filters"):
        ndimage = importlib.import_module("scipy.ndimage")
        provide("scipy.ndimage.filters", convolve=ndimage.convolve, gaussian_filter=ndimage.gaussian_filter)


def mend_distutils() -> None:
    """Gives back `distutils.version`, gone from Python 3.12 where setuptools does not stand in for it.

    Mends basicsr/archs/arch_util.py:6, which compares torchvision's version. Can go when the toolbox compares
    with `packaging`.
    """
    if is_missing("distutils"):
        version = importlib.import_module("packaging.version")
        provide("distutils")
        provide("distutils.version", LooseVersion=version.Version)


def silence_meshgrid() -> None:
    """Silences torch's wish for an `indexing` argument; the default it warns about is the one that is meant.

    Mends basicsr/archs/swinir_arch.py:125 and arch_util.py:136. Can go when the toolbox passes
    `indexing='ij'`.
    """
    warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release", category=UserWarning)


# What breaks while it runs


def mend_yaml_loader() -> None:
    """Reads options with a loader that builds plain data only, so that an option file cannot run code.

    Mends `ordered_yaml` in basicsr/utils/options.py:12, whose loader obeys tags such as
    `!!python/object/apply`. Can go when the toolbox loads safely and reads `1e-4` as a number.
    """
    options = toolbox("utils.options")
    options.ordered_yaml = ordered_yaml


def mend_parse_options() -> None:
    """Checks the whole of the options before anything is built or written, and `--force_yml` without `eval`.

    Mends `parse_options` in basicsr/utils/options.py:82, as train.py and test.py know it: it checks nothing
    and executes what `--force_yml` holds. Can go when the toolbox checks options and only reads them.
    """
    for name in ("utils.options", "train", "test"):
        module = toolbox(name)
        module.parse_options = with_strict_options(module.parse_options)


def mend_copy_opt_file() -> None:
    """Write the resolved options into the experiment folder, beside the raw option file.

    Mends `copy_opt_file` in basicsr/utils/options.py:199, which copies only the raw file: without its bases
    and `--force_yml` it does not say how the training ran. Can go when the toolbox writes what it uses.
    """
    for name in ("utils.options", "train"):
        module = toolbox(name)
        module.copy_opt_file = with_resolved_options(module.copy_opt_file)


def mend_init_dist() -> None:
    """Starts distributed training on CPUs with gloo; on GPUs the toolbox's own function runs unchanged.

    Mends `_init_dist_pytorch` in basicsr/utils/dist_util.py:21, which counts devices modulo zero and asks for
    NCCL. Can go when the toolbox chooses the backend by device.
    """
    for name in ("utils.dist_util", "utils.options"):
        module = toolbox(name)
        module.init_dist = with_gloo(module.init_dist)


def mend_load_resume_state() -> None:
    """Loads training states onto the CPU, whence the optimisers move them to where their parameters are.

    Mends `load_resume_state` in basicsr/train.py:68: it asks for the current CUDA device, which a CPU run
    lacks, would move random states, which torch wants on the CPU, to the GPU, searches below the current
    directory, and takes the newest file whether or not it is whole. Can go when the toolbox does none of it.
    """
    train = toolbox("train")
    train.load_resume_state = load_resume_state


def mend_load_network() -> None:
    """Loads networks from safetensors, too, never running code from a file, and says in a line what misfits.

    Mends `BaseModel.load_network` in basicsr/models/base_model.py:277, which before torch 2.6 unpickles
    whatever it is given. Can go when the toolbox passes `weights_only` and reads safetensors.
    """
    toolbox("models.base_model").BaseModel.load_network = load_network


def mend_make_exp_dirs() -> None:
    """Goes on in the folders of a run that has saved nothing yet, if asked to resume, and archives others.

    Mends the call of `make_exp_dirs` in basicsr/train.py:105, which renames whatever is there. Can go when
    the toolbox does not with `--auto_resume`.
    """
    train = toolbox("train")
    train.make_exp_dirs = with_unfinished_folders_kept(train.make_exp_dirs)


def mend_sample_order() -> None:
    """Makes the samples of a training a function of its seed, so that it can be resumed within an epoch.

    Mends `create_train_val_dataloader` in basicsr/train.py:28: its sampler begins an epoch anew, its data
    workers draw from states that are lost with them, and it counts the incomplete batch, which is dropped, as
    an iteration of each epoch, so that training may end early. Can go when the toolbox resumes exactly.
    """
    train = toolbox("train")
    train.create_train_val_dataloader = with_sample_order(train.create_train_val_dataloader)


def mend_prefetching() -> None:
    """Lets what goes wrong in a thread that prefetches end the training, which would wait for it for ever.

    Mends `PrefetchGenerator` in basicsr/data/prefetch_dataloader.py:27 and 32. Can go when it passes on what
    its loader raises.
    """
    generator = toolbox("data.prefetch_dataloader").PrefetchGenerator
    generator.run, generator.__next__ = handing_on_errors(generator.run), raising_errors(generator.__next__)


# What the patches put in place


class OptionsLoader(yaml.SafeLoader):
    """A safe YAML loader that keeps mappings ordered, takes a key once, and reads `1e-4` as a number."""

    def construct_ordered(self, node: yaml.MappingNode) -> OrderedDict:
        first: dict[str, int] = {}
        for key, _ in node.value:
            problem = None
            if not isinstance(key, yaml.ScalarNode):
                problem = "a key is a list or a mapping; give a word"
            elif key.value in first:
                problem = f"key {key.value} is there twice, first in line {first[key.value]}; remove one"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            first[key.value] = key.start_mark.line + 1
        self.flatten_mapping(node)
        return OrderedDict(self.construct_pairs(node))


class OptionsDumper(yaml.SafeDumper):
    """A safe YAML dumper that writes an OrderedDict as a plain mapping."""

    def represent_ordered(self, data: OrderedDict) -> yaml.MappingNode:
        return self.represent_dict(data.items())


EXPONENT_WITHOUT_SIGN_OR_DOT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")

OptionsLoader.add_constructor(OptionsLoader.DEFAULT_MAPPING_TAG, OptionsLoader.construct_ordered)
for each in (OptionsLoader, OptionsDumper):  # so that the dumper quotes a text like '1e5'
    each.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT_WITHOUT_SIGN_OR_DOT, list("-+0123456789"))
OptionsDumper.add_representer(OrderedDict, OptionsDumper.represent_ordered)


def ordered_yaml() -> tuple[type, type]:
    """Gives the loader and the dumper of option files, as the toolbox's function of this name does."""
    return OptionsLoader, OptionsDumper


def with_strict_options(parse_options: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `parse_options` so that it is given options that have been read and checked."""

    @functools.wraps(parse_options)
    def strict(root_path: str, is_train: bool = True) -> Any:
        # Not above: it needs the toolbox, and this package's archs.
        opt, arguments = plugin("options").options_of_command(sys.argv[1:], root_path, is_train=is_train)
        resolved = copy.deepcopy(opt)  # the toolbox adds to its own
        with read_already(opt, arguments):
            opt, args = parse_options(root_path, is_train)
        plugin("options.kept").remember(args.opt, resolved, opt["manual_seed"])
        return opt, args

    return strict


def with_resolved_options(copy_opt_file: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """Wraps `copy_opt_file` so that it writes the resolved options, too."""

    @functools.wraps(copy_opt_file)
    def copied(opt_file: str, experiments_root: str) -> None:
        plugin("options.kept").copy_options(copy_opt_file, opt_file, experiments_root)

    return copied


@contextmanager
def read_already(opt: OrderedDict, arguments: list[str]) -> Iterator[None]:
    """Lets the toolbox's `parse_options` find these options and arguments, instead of those it would read."""
    options, argv = toolbox("utils.options"), sys.argv
    ordered_yaml, init_dist = options.ordered_yaml, options.init_dist
    loader = types.SimpleNamespace(get_single_data=lambda: opt, dispose=lambda: None)
    try:
        options.ordered_yaml = lambda: (lambda stream: loader, None)
        if opt.get("num_gpu") == 0:
            options.init_dist = start_gloo
        sys.argv = [argv[0], *arguments]
        yield
    finally:
        options.ordered_yaml, options.init_dist, sys.argv = ordered_yaml, init_dist, argv


def with_gloo(init_dist: Callable[..., None]) -> Callable[..., None]:
    """Wraps `init_dist` so that without CUDA it does what `start_gloo` does."""

    @functools.wraps(init_dist)
    def started(launcher: str, *args: Any, **kwargs: Any) -> None:
        start = init_dist if torch.cuda.is_available() else start_gloo
        start(launcher, *args, **kwargs)

    return started


def start_gloo(launcher: str, *args: Any, **kwargs: Any) -> None:
    """Starts a process group on CPUs; what else `init_dist` takes is for GPUs.

    Raises:
        ValueError: a launcher other than `pytorch`.
    """
    if launcher != "pytorch":
        raise ValueError(f"--launcher {launcher} needs GPUs; on CPUs use torchrun and --launcher pytorch")
    if torch.multiprocessing.get_start_method(allow_none=True) is None:
        torch.multiprocessing.set_start_method("spawn")
    torch.distributed.init_process_group("gloo")


def load_resume_state(opt: dict) -> dict | None:
    """Loads the training state to resume from, as `training_states` does; that needs a mended toolbox."""
    return plugin("models.training_states").load_resume_state(opt)


def handing_on_errors(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wraps the work of a prefetching thread so that what it raises is the last that it gives."""

    @functools.wraps(run)
    def ran(thread: Any) -> None:
        try:
            run(thread)
        except Exception as error:
            thread.queue.put(error)

    return ran


def raising_errors(following: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wraps what takes the next batch of a prefetching thread so that an error that it gives is raised."""

    @functools.wraps(following)
    def followed(thread: Any) -> Any:
        batch = following(thread)
        if isinstance(batch, Exception):
            raise batch
        return batch

    return followed


def with_unfinished_folders_kept(make_exp_dirs: Callable[[dict], None]) -> Callable[[dict], None]:
    """Wraps `make_exp_dirs` so that with `auto_resume` a run that has saved nothing yet is not archived."""

    @functools.wraps(make_exp_dirs)
    def made(opt: dict) -> None:
        if plugin("utils.processes").rank() == 0 and not plugin(
            "models.training_states"
        ).reuse_unfinished_folders(opt):
            make_exp_dirs(opt)

    return made


def with_sample_order(create_loaders: Callable[..., tuple]) -> Callable[..., tuple]:
    """Wraps `create_train_val_dataloader` so that the order of samples is `sample_order.SampleOrder`'s.

    Raises (from the wrapped function):
        ValueError: the dataset is smaller than a batch of all processes.
    """

    @functools.wraps(create_loaders)
    def created(opt: dict, logger: Any) -> tuple:
        sample_order, data_workers = plugin("data.sample_order"), plugin("data.workers")
        resumed = opt.get("resumed") or {"iter": 0, "epoch": 0, "consumed": 0}
        toolbox("train").EnlargedSampler = functools.partial(
            sample_order.SampleOrder,
            seed=opt["manual_seed"],
            begin=sample_order.Position(resumed["epoch"], resumed["consumed"]),
        )
        train_loader, sampler, val_loaders, _, total_iters = create_loaders(opt, logger)
        train_loader, *val_loaders = (
            data_workers.IsolatedLoader(loader, seed=opt["manual_seed"] + opt["rank"])
            for loader in (train_loader, *val_loaders)
        )
        if len(train_loader) == 0:
            batch = opt["datasets"]["train"]["batch_size_per_gpu"]
            raise ValueError(
                f"datasets.train.batch_size_per_gpu: {batch} per process are more than an epoch of "
                f"{len(sampler)} samples; lower it or raise dataset_enlarge_ratio"
            )
        epochs_left = -(-(total_iters - resumed["iter"]) // len(train_loader))
        return train_loader, sampler, val_loaders, resumed["epoch"] + max(epochs_left, 0), total_iters

    return created


def load_network(
    model: Any, net: torch.nn.Module, load_path: str, strict: bool = True, param_key: str | None = "params"
) -> None:
    """Loads a network from a checkpoint as the toolbox does.

    Args:
        model: the toolbox's model that the network is of.
        net: the network, bare or wrapped for several processes.
        load_path: the checkpoint, of torch or safetensors.
        strict: refuse what does not fit; otherwise load what does, and log the rest.
        param_key: the entry to load, `params` where it is missing; None for a file that has no entries.

    Raises:
        ValueError: one line, if the file cannot be read or does not fit.
    """
    pretrained = plugin("archs.pretrained")
    net = model.get_bare_model(net)
    weights = pretrained.read_weights(load_path, param_key, fallback="params")
    toolbox("utils").get_root_logger().info(f"Loading {type(net).__name__} from {load_path}.")
    if strict:
        pretrained.check_fit(weights, net.state_dict(), load_path, type(net).__name__)
    else:
        model._print_different_keys_loading(net, weights, strict)  # and sets aside what has another shape
    net.load_state_dict(weights, strict=strict)


# Modules


def toolbox(name: str) -> Any:
    """Gives a module of basicsr, which only a mended process can import, hence no import statement above."""
    return importlib.import_module(f"basicsr.{name}")


def plugin(name: str) -> Any:
    """Gives a module of this package that itself needs a mended toolbox."""
    return importlib.import_module(f"moeisr_plugin.{name}")


def is_missing(name: str) -> bool:
    """Tells whether importing the module would fail, without importing it (only the packages it lies in)."""
    return sys.modules.get(name) is None and importlib.util.find_spec(name) is None


def provide(name: str, **contents: Any) -> None:
    """Makes a module of the given contents importable under `name`, also as an attribute of its package."""
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module
    package, _, child = name.rpartition(".")
    if package:
        setattr(sys.modules[package], child, module)
