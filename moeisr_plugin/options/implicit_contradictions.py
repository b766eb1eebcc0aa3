"""Check combinations of settings of ImplicitSRModel; see :mod:`.contradictions`."""

import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch.nn import Parameter

from moeisr_plugin.data.whole_patches import WHOLE
from moeisr_plugin.models.acceleration import CUDA_GRAPH_MODES
from moeisr_plugin.models.implicit_sr_model import TOOLBOX_SCHEDULES
from moeisr_plugin.models.optimisers import (
    build_optimiser,
    build_scheduler,
    suitable_schedulers,
)
from moeisr_plugin.models.validation import dataset_label
from moeisr_plugin.options.loss_contradictions import LOSSES
from moeisr_plugin.options.network_contradictions import NETWORK, known_defaults
from moeisr_plugin.options.runs import (
    Check,
    Finding,
    Run,
    batch_of_process,
    data_sets_of,
    gpus_of_process,
    leads_out,
)
from moeisr_plugin.options.signatures import find

OWN_DATA_SETS = ("ArbitraryScaleDataset", "ScaleValidationDataset")


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


def replay(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Settings with which batches cannot be kept."""
    train, key = opt.get("train") or {}, "train.replay_batches"
    if not run.is_train or not train.get("replay_batches"):
        return
    total = train.get("total_iter", math.inf)
    if train["replay_batches"] >= total:
        yield key, f"is {train['replay_batches']}, and total_iter {total}, so that none comes again; lower it"
    if "encoder" not in (train.get("freeze") or []):
        yield key, "keeps latents, but the encoder learns; add encoder to train.freeze"
    if train.get("compile"):
        yield key, "does not reach the encoder of a compiled network; remove train.compile"
    if train.get("accumulate", 1) > 1:
        yield key, "keeps whole batches; remove train.accumulate and lower batch_size_per_gpu"
    if train.get("gan_opt"):
        yield key, "is not for a discriminator, which needs new outputs; remove it"
    if gpus_of_process(opt, run) > 1:
        yield key, "cannot serve several GPUs in one process; use torchrun and --launcher pytorch"


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


def data_sets(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report data sets of the toolbox, which have neither queries nor scales."""
    known = dict(iter(DATASET_REGISTRY))
    for phase, dataset in data_sets_of(opt):
        kind = find(known, dataset.get("type"))
        if isinstance(kind, type) and kind.__module__.split(".")[0] == "basicsr":
            own = OWN_DATA_SETS[phase != "train"]
            yield f"datasets.{phase}.type", f"is {dataset['type']}; ImplicitSRModel takes {own}"


def keys_of_pairs(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report keys of pairs in data sets without pairs, and of a fixed scale in a training without LR."""
    for phase, dataset in data_sets_of(opt):
        if dataset.get("type") not in OWN_DATA_SETS:
            continue
        if dataset.get("dataroot_gt") and dataset.get("dataroot_lq"):
            continue
        for key in ("filename_tmpl", "filename_tmpl_gt"):
            if dataset.get(key, "{}") != "{}":
                text = "applies only to pairs of HR and LR folders; remove the line"
                yield f"datasets.{phase}.{key}", text
        if dataset.get("mixed_scales"):
            yield f"datasets.{phase}.mixed_scales", "applies only to pairs of HR and LR; remove the line"
        if dataset["type"] == OWN_DATA_SETS[0] and dataset.get("scale") is not None:
            text = "applies only to pairs of HR and LR; give scale_range: [smallest, largest]"
            yield f"datasets.{phase}.scale", text


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


def queries(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report more queries than the smallest HR patch has pixels."""
    dataset = dict(data_sets_of(opt)).get("train", {})
    if dataset.get("type") != "ArbitraryScaleDataset" or dataset.get("dataroot_lq"):
        return
    side = round(dataset.get("lr_size", 48) * dataset.get("scale_range", [1, 4])[0])
    wanted, window = dataset.get("sample_q", 2304), dataset.get("hr_size")
    if window is not None and wanted != WHOLE:
        yield "datasets.train.hr_size", f"needs whole patches; set sample_q: {WHOLE}, or remove it"
    elif window is not None and window > side:
        text = f"is {window}, but the smallest HR patch has {side}x{side} pixels"
        yield "datasets.train.hr_size", f"{text}; lower it, or raise lr_size or the smallest scale"
    if wanted != WHOLE and wanted > side**2:
        text = f"is {wanted}, but the smallest HR patch has {side}x{side} = {side**2} pixels"
        yield "datasets.train.sample_q", f"{text}; lower it or raise lr_size"


def cells(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report training scales above the largest scale that the network receives when it renders."""
    dataset, network_options = dict(data_sets_of(opt)).get("train", {}), opt.get("network_g") or {}
    largest = network_options.get(
        "max_trained_scale", known_defaults(network_options).get("max_trained_scale")
    )
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


IMPLICIT: tuple[Check, ...] = (
    parts,
    data_parallel,
    replay,
    *NETWORK,
    data_sets,
    keys_of_pairs,
    torchs_schedule,
    *LOSSES,
    queries,
    cells,
    scale_of_validation,
    results_by_name,
)
