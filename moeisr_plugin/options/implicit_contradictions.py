"""Check combinations of settings of ImplicitSRModel; see :mod:`.contradictions`."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeGuard

import torch
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY
from torch.nn import Parameter

from moeisr_plugin.archs.encoders.toolbox_encoder_arch import FAMILIES, ToolboxEncoder
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import OWN_NETWORKS
from moeisr_plugin.losses.names import SCORE_LOSSES
from moeisr_plugin.models.acceleration import CUDA_GRAPH_MODES
from moeisr_plugin.models.distillation import DEEPEST
from moeisr_plugin.models.freezing import freeze, learning_experts
from moeisr_plugin.models.implicit_sr_model import TOOLBOX_SCHEDULES
from moeisr_plugin.models.optimisers import (
    build_optimiser,
    build_scheduler,
    parameter_groups,
    suitable_schedulers,
)
from moeisr_plugin.models.validation import dataset_label
from moeisr_plugin.options.rules import nearest
from moeisr_plugin.options.runs import (
    Check,
    Finding,
    Run,
    batch_of_process,
    data_sets_of,
    gpus_of_process,
    leads_out,
)
from moeisr_plugin.options.signatures import defaults, find

OWN_DATA_SETS = ("ArbitraryScaleDataset", "ScaleValidationDataset")


def is_own_network(network_class: Any) -> TypeGuard[type[ImplicitNetwork]]:
    """Return whether the class is a network of this package."""
    return isinstance(network_class, type) and issubclass(network_class, ImplicitNetwork)


def parts(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    train = opt.get("train") or {}
    accumulate, mode = train.get("accumulate", 1), train.get("compile")
    if not run.is_train or accumulate == 1:
        return
    if mode in CUDA_GRAPH_MODES and gpus_of_process(opt, run):
        remedy = "give default or max-autotune-no-cudagraphs, or remove train.accumulate"
        yield (
            "train.compile",
            f"is {mode}, which overwrites the results of one part by those of the next; {remedy}",
        )
    batch = batch_of_process(opt, run)
    if accumulate > batch:
        yield "train.accumulate", f"is {accumulate}, more parts than a batch of {batch} has samples; lower it"


def data_parallel(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report settings that torch does not pass on to the threads of several GPUs in one process."""
    gpus, train = gpus_of_process(opt, run), opt.get("train") or {}
    if not run.is_train or gpus < 2:
        return
    remedy = "start one process for each, with torchrun and --launcher pytorch, or set num_gpu: 1"
    if train.get("precision", "float32") != "float32":
        yield (
            "train.precision",
            f"is {train['precision']}, which {gpus} GPUs in one process ignore; {remedy}",
        )
    if train.get("compile"):
        yield "train.compile", f"is true, which {gpus} GPUs in one process cannot share; {remedy}"


def network(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    kind = (opt.get("network_g") or {}).get("type")
    network_class = find(dict(iter(ARCH_REGISTRY)), kind)
    if isinstance(network_class, type) and not is_own_network(network_class):
        text = f"is {kind}, but ImplicitSRModel trains {OWN_NETWORKS}; change one or the other"
        yield "network_g.type", text


def data_sets(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report data sets of the toolbox, which have neither queries nor scales."""
    known = dict(iter(DATASET_REGISTRY))
    for phase, dataset in data_sets_of(opt):
        kind = find(known, dataset.get("type"))
        if isinstance(kind, type) and kind.__module__.split(".")[0] == "basicsr":
            own = OWN_DATA_SETS[phase != "train"]
            yield f"datasets.{phase}.type", f"is {dataset['type']}; ImplicitSRModel takes {own}"


def names_of_lr(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    for phase, dataset in data_sets_of(opt):
        pairs = dataset.get("dataroot_gt") and dataset.get("dataroot_lq")
        named_after = dataset.get("filename_tmpl", "{}") != "{}"
        if dataset.get("type") in OWN_DATA_SETS and named_after and not pairs:
            text = "applies only to pairs of HR and LR folders; remove the line"
            yield f"datasets.{phase}.filename_tmpl", text


def experts(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    num_experts = _num_experts(opt.get("network_g") or {})
    train = opt.get("train") or {}
    balance = train.get("balance_opt")
    if num_experts == 1:
        if balance:
            yield "train.balance_opt", "has nothing to balance in a network with one expert; remove it"
        if train.get("cost_opt"):
            yield "train.cost_opt", "has no choice to price in a network with one expert; remove it"
        if (train.get("distillation_opt") or {}).get("teacher") == DEEPEST:
            text = f"is {DEEPEST}, but the network has one expert; give a file of weights"
            yield "train.distillation_opt.teacher", text
        for key in ("random_gates_iter", "mapper_alone_iter"):
            if train.get(key):
                yield f"train.{key}", "has no choice to make in a network with one expert; remove it"
    elif num_experts is not None:
        for name, key in SCORE_LOSSES.items():
            given = (train.get(f"{name}_opt") or {}).get(key)
            if given and len(given) != num_experts:
                text = f"has {len(given)} values for {num_experts} experts; give one for each"
                yield f"train.{name}_opt.{key}", text


def frozen(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Parts that the network does not have or that are frozen, and trainings that leave nothing to learn."""
    train, options = opt.get("train") or {}, opt.get("network_g") or {}
    parts, known = train.get("freeze") or [], dict(iter(ARCH_REGISTRY))
    rates = (train.get("optim_g") or {}).get("rates") or {}
    network_class = find(known, options.get("type"))
    encoder = {key: value for key, value in (options.get("encoder") or {}).items() if key != "pretrained"}
    encoder_class = find(known, encoder.pop("type", None))
    if not (parts or rates) or not run.is_train or not is_own_network(network_class) or encoder_class is None:
        return
    rest = {key: value for key, value in options.items() if key not in ("type", "encoder")}
    try:
        # The toolbox's builder would set up its log before the training names the log file.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = network_class(**rest, encoder=encoder_class(**encoder))
    except (KeyError, TypeError, ValueError):
        return  # other checks report these options
    try:
        freeze(net, parts)
        parameter_groups(net, rates)
    except ValueError as error:
        path, _, text = str(error).partition(": ")
        yield path, text
        return
    at_random, alone = train.get("random_gates_iter", 0), train.get("mapper_alone_iter", 0)
    listed = ", ".join(parts)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        yield "train.freeze", f"is {listed}, which leaves nothing to learn; remove one of them"
    elif at_random and not learning_experts(net.experts):
        text = (
            f"is {listed}, all experts, and random_gates_iter assigns pixels to them; remove one or the other"
        )
        yield "train.freeze", text
    elif alone and not any(parameter.requires_grad for parameter in net.mapper.parameters()):
        text = f"is {listed}, and mapper_alone_iter lets the mapper alone learn; remove one or the other"
        yield "train.freeze", text


def start_of_encoder(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """An encoder that other weights would replace."""
    copied = (opt.get("train") or {}).get("encoder_from")
    encoder = (opt.get("network_g") or {}).get("encoder") or {}
    others = ["path.pretrain_network_g"] if (opt.get("path") or {}).get("pretrain_network_g") else []
    others += ["network_g.encoder.pretrained"] if encoder.get("pretrained") else []
    if copied and others and run.is_train:
        yield "train.encoder_from", f"is given, and {others[0]} has an encoder too; remove one of them"


def torchs_schedule(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report options that torch itself refuses, or that fail in the first iterations."""
    train = opt.get("train") or {}
    settings, optimiser = (dict(train.get(key) or {}) for key in ("scheduler", "optim_g"))
    optimiser.pop("rates", None)
    kind = settings.pop("type", None)
    if kind not in suitable_schedulers().keys() - TOOLBOX_SCHEDULES or "type" not in optimiser:
        return
    steps, total = settings.get("total_steps"), train.get("total_iter", 0)
    if kind == "OneCycleLR" and steps is not None and steps < total:
        yield "train.scheduler.total_steps", f"is {steps}, fewer than total_iter {total}; raise it"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the optimiser takes no step before the schedule
            trial = build_optimiser(optimiser.pop("type"), [Parameter(torch.zeros(1))], **optimiser)
            schedule = build_scheduler(kind, trial, **settings)
            schedule.step()
    except ValueError as error:
        path, _, text = str(error).partition(": ")
        yield path, text
    except ZeroDivisionError:
        yield "train.scheduler", f"{kind} would divide by zero; give lengths of at least 1"


def perceptual(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    if (opt.get("train") or {}).get("perceptual_opt"):
        text = "a perceptual loss needs whole patches, and training sees single queries; remove it"
        yield "train.perceptual_opt", text


def encoder(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    options = (opt.get("network_g") or {}).get("encoder") or {}
    path = "network_g.encoder"
    if options.get("type") == "SwinIREncoder":
        known = defaults(dict(iter(ARCH_REGISTRY))["SwinIREncoder"])
        depths, heads, width = (options.get(key, known[key]) for key in ("depths", "num_heads", "embed_dim"))
        if len(depths) != len(heads):
            yield f"{path}.num_heads", f"has {len(heads)} values for {len(depths)} depths; give one for each"
        if any(head < 1 or width % head for head in heads):
            yield f"{path}.num_heads", f"is {list(heads)}; each must divide embed_dim {width}"
    if options.get("type") == "ToolboxEncoder" and "arch" in options:
        arch, params = options["arch"], options.get("params") or {}
        if arch not in FAMILIES:
            yield f"{path}.arch", f"no encoder is cut from {arch}; {nearest(arch, FAMILIES)}"
            return
        device = "cpu" if arch == "SwinIR" else "meta"  # without data; SwinIR reads its own
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ToolboxEncoder(arch=arch, params=params)
        except ValueError as error:
            yield f"{path}.params", str(error).removeprefix("ToolboxEncoder: ")


def queries(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report more queries than the smallest HR patch has pixels."""
    dataset = dict(data_sets_of(opt)).get("train", {})
    if dataset.get("type") != "ArbitraryScaleDataset" or dataset.get("dataroot_lq"):
        return
    side = round(dataset.get("lr_size", 48) * dataset.get("scale_range", [1, 4])[0])
    wanted = dataset.get("sample_q", 2304)
    if wanted > side**2:
        text = f"is {wanted}, but the smallest HR patch has {side}x{side} = {side**2} pixels"
        yield "datasets.train.sample_q", f"{text}; lower it or raise lr_size"


def cells(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report training scales above the largest scale that the network receives when it renders."""
    dataset, network_options = dict(data_sets_of(opt)).get("train", {}), opt.get("network_g") or {}
    largest = network_options.get("max_trained_scale", _defaults(network_options).get("max_trained_scale"))
    if largest is None or dataset.get("type") != "ArbitraryScaleDataset" or dataset.get("dataroot_lq"):
        return
    trained = dataset.get("scale_range", [1, 4])[1]
    if trained > largest:
        text = f"is {largest:g}, but datasets.train.scale_range reaches {trained:g}; give {trained:g}"
        yield "network_g.max_trained_scale", text


def scale_of_validation(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    for phase, dataset in data_sets_of(opt):
        pairs = dataset.get("dataroot_gt") and dataset.get("dataroot_lq")
        if dataset.get("type") != "ScaleValidationDataset":
            continue
        if not pairs and dataset.get("scale") is None and "scale" not in opt:
            yield (
                f"datasets.{phase}.scale",
                "missing; give a number of at least 1, or two, [vertical, horizontal]",
            )
        if not dataset.get("dataroot_gt") and not dataset.get("dataroot_lq"):
            yield f"datasets.{phase}.dataroot_gt", "missing; give a folder of pictures or an LMDB"


def results_by_name(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report validation sets that share a label, and names that lead out of the results folder."""
    first: dict[str, str] = {}
    for phase, dataset in data_sets_of(opt):
        if phase != "train" and "name" in dataset:
            if leads_out(PurePath(dataset["name"])):
                text = f"is {dataset['name']!r}, which leads out of the results; give a plain name"
                yield f"datasets.{phase}.name", text
            label = dataset_label({**dataset, "scale": opt.get("scale", dataset.get("scale"))})
            other = first.setdefault(label, phase)
            if other != phase:
                text = f"is {dataset['name']!r}, as that of datasets.{other} at the same scale"
                yield f"datasets.{phase}.name", f"{text}; results would be mixed up, so rename one"


def _num_experts(network: Mapping[str, Any]) -> int | None:
    """Return the number of experts of a network; None if its type is not known."""
    known = _defaults(network)
    if "expert_depths" not in known:
        return 1 if "depth" in known else None
    depths: Sequence[int] = network.get("expert_depths", known["expert_depths"])
    return len(depths)


def _defaults(network: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a network of this package; those of another network are not known."""
    network_class = find(dict(iter(ARCH_REGISTRY)), network.get("type"))
    return defaults(network_class) if is_own_network(network_class) else {}


IMPLICIT: tuple[Check, ...] = (
    parts,
    data_parallel,
    network,
    data_sets,
    names_of_lr,
    experts,
    frozen,
    start_of_encoder,
    torchs_schedule,
    perceptual,
    encoder,
    queries,
    cells,
    scale_of_validation,
    results_by_name,
)
