"""Check combinations of settings whose single values are valid.

Each function takes the options without faulty values, so that any key may be missing. It yields the path of a
key with a message: the problem and the remedy.
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY

from moeisr_plugin.data.whole_patches import WHOLE
from moeisr_plugin.options.implicit_contradictions import IMPLICIT
from moeisr_plugin.options.network_contradictions import is_own_network
from moeisr_plugin.options.rules import UnsoundError, nearest
from moeisr_plugin.options.runs import Check, Finding, Run, data_sets_of, leads_out
from moeisr_plugin.options.schema import GAN_OF, IMPLICIT_GAN, IMPLICIT_MODEL, IMPLICIT_MODELS
from moeisr_plugin.options.signatures import find


def contradictions(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Yield contradictions; skip checks that depend on values with reported problems."""
    with suppress(UnsoundError):
        for check in (*EVERYWHERE, *(IMPLICIT if opt.get("model_type") in IMPLICIT_MODELS else ())):
            with suppress(UnsoundError):
                yield from check(opt, run)


def name(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    path = PurePath(opt.get("name", "unnamed"))
    if leads_out(path) or not path.parts:
        yield "name", f"is {str(path)!r}, which leads out of the experiments; give a plain name"
    elif len(path.parts) > 1:
        yield "name", f"is {str(path)!r}, and logs are named after it; give a name without slashes"


def gpus(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    wanted, present = opt.get("num_gpu"), torch.cuda.device_count()
    if isinstance(wanted, int) and wanted > present:
        remedy = "set num_gpu: 0 to run on the CPU, or num_gpu: auto"
        yield "num_gpu", f"is {wanted}, but torch sees {present} CUDA devices; {remedy}"


def launcher(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    started = {"pytorch": "RANK", "slurm": "SLURM_PROCID"}.get(run.launcher)
    if started is not None and started not in os.environ:
        by = {"pytorch": "torchrun", "slurm": "srun"}[run.launcher]
        yield "--launcher", f"{run.launcher} needs the variables that {by} sets; start this with {by}"
    if run.launcher == "none" and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        processes = os.environ["WORLD_SIZE"]
        yield "--launcher", f"none, but torchrun started {processes} processes; add --launcher pytorch"
    processes, present = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
    one_for_each = present == 1 and "CUDA_VISIBLE_DEVICES" in os.environ  # which then differs among processes
    if run.launcher == "pytorch" and opt.get("num_gpu") != 0 and 0 < present < processes and not one_for_each:
        text = f"torchrun started {processes} processes, one for each GPU, but torch sees {present}"
        yield "--launcher", f"{text}; give --nproc_per_node={present}, or set num_gpu: 0 to run on CPUs"


def top_scale(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    stated = {
        phase: dataset["scale"] for phase, dataset in data_sets_of(opt) if dataset.get("scale") is not None
    }
    others = [f"datasets.{phase}" for phase, scale in stated.items() if scale != opt.get("scale")]
    if "scale" in opt and others:
        yield "scale", f"overwrites the scale of {', '.join(others)}; remove one or the other"


def loaders(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    for phase, dataset in data_sets_of(opt):
        path = f"datasets.{phase}"
        workers = dataset.get("num_worker_per_gpu") if phase == "train" else 0
        if dataset.get("persistent_workers") and workers == 0:
            if phase == "train":
                remedy = "set num_worker_per_gpu: 1 or more, or remove the line"
            else:
                remedy = "the toolbox validates without workers; remove the line"
            yield f"{path}.persistent_workers", f"is true without workers; {remedy}"
        if dataset.get("prefetch_mode") == "cpu" and dataset.get("persistent_workers"):
            text = "is cpu, with which two threads use persistent workers at once; remove the line"
            yield f"{path}.prefetch_mode", text
        if dataset.get("prefetch_mode") == "cuda":
            if opt.get("num_gpu") == 0 or not torch.cuda.is_available():
                yield f"{path}.prefetch_mode", "is cuda, but this runs on the CPU; remove the line"
            elif not dataset.get("pin_memory"):
                yield f"{path}.prefetch_mode", "is cuda, which needs pinned memory; set pin_memory: true"


def schedule(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    train = opt.get("train") or {}
    total = train.get("total_iter")
    for key in ("warmup_iter", "random_gates_iter", "mapper_alone_iter"):
        if total is not None and train.get(key, 0) > total:
            yield f"train.{key}", f"is {train[key]}, more than total_iter {total}; lower it"
            return
    at_random, alone = train.get("random_gates_iter", 0), train.get("mapper_alone_iter", 0)
    if total is not None and at_random + alone > total:
        text = f"is {alone}, which with random_gates_iter {at_random} exceeds total_iter {total}"
        yield "train.mapper_alone_iter", f"{text}; lower one of them"
    if opt.get("find_unused_parameters") is False and (at_random or alone):
        key = "random_gates_iter" if at_random else "mapper_alone_iter"
        yield "find_unused_parameters", f"is false, and train.{key} leaves parameters unused; remove the line"


def scheduler(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    train = opt.get("train") or {}
    settings = train.get("scheduler") or {}
    lists = {
        "CosineAnnealingRestartLR": "periods",
        "MultiStepRestartLR": "restarts",
        "MultiStepLR": "restarts",
    }
    key = lists.get(settings.get("type", ""))
    if key is None or (key == "periods" and key not in settings):
        return
    count = len(settings.get(key, [0]))
    weights = len(settings.get("restart_weights", [1]))
    if count != weights:
        yield "train.scheduler.restart_weights", f"has {weights} values for {count} {key}; give one for each"
    total = train.get("total_iter", 0)
    if key == "periods" and sum(settings["periods"]) < total:
        covered = sum(settings["periods"])
        yield "train.scheduler.periods", f"end at {covered}, before total_iter {total}; extend or add one"


def logging(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    logger = opt.get("logger") or {}
    events, project = logger.get("use_tb_logger"), (logger.get("wandb") or {}).get("project")
    if project and not events:
        yield "logger.wandb.project", "wandb reads TensorBoard's log; set use_tb_logger: true"
    wanted = {"wandb.project": ("wandb", events and project), "use_tb_logger": ("tensorboard", events)}
    for key, (package, is_wanted) in wanted.items():
        if run.is_train and is_wanted and importlib.util.find_spec(package) is None:
            text = f"needs {package}, which is not installed; pip install {package}, or remove the line"
            yield f"logger.{key}", text


def unused_validation(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    sets = [f"datasets.{phase}" for phase, _ in data_sets_of(opt) if phase.startswith("val")]
    if run.is_train and sets and opt.get("val") is None:
        yield "val", f"missing, so that {', '.join(sets)} would never be used; add it or remove them"


def resumed_networks(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report names that are none of the networks."""
    networks = [key for key in opt if key.startswith("network_")]
    for label in (opt.get("path") or {}).get("ignore_resume_networks") or ():
        if label not in networks:
            yield "path.ignore_resume_networks", f"there is no {label}; {nearest(label, networks)}"


def networks_of_queries(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report networks and data sets of this package under a model of the toolbox, which knows no queries."""
    model = dict(iter(MODEL_REGISTRY)).get(opt.get("model_type"))
    if model is None or model.__module__.split(".")[0] != "basicsr":
        return
    kind = (opt.get("network_g") or {}).get("type")
    has_discriminator = opt["model_type"] not in GAN_OF and "network_d" in opt
    own = IMPLICIT_GAN if has_discriminator else IMPLICIT_MODEL
    if is_own_network(find(dict(iter(ARCH_REGISTRY)), kind)):
        text = f"is {kind}, which is trained on queries; set model_type: {own}"
        yield "network_g.type", text
        return
    for phase, dataset in data_sets_of(opt):
        if dataset.get("type") == "ArbitraryScaleDataset" and dataset.get("sample_q") != WHOLE:
            text = f"gives single pixels, which {opt['model_type']} does not take; set sample_q: {WHOLE}"
            yield f"datasets.{phase}.type", text


EVERYWHERE: tuple[Check, ...] = (
    name,
    gpus,
    launcher,
    top_scale,
    loaders,
    schedule,
    scheduler,
    logging,
    unused_validation,
    resumed_networks,
    networks_of_queries,
)
