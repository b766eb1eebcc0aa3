"""The known keys of an option file. A new key is one line in one of the tables.

The keys of a network, loss, metric, optimiser or scheduler are the parameters of its class, read from the
signature; see :mod:`.ranges`.
"""

from dataclasses import replace
from typing import Any

from basicsr.utils.registry import MODEL_REGISTRY

from moeisr_plugin.data.degradation import BLUR_SIGMA, JPEG_QUALITY, NOISE_SIGMA
from moeisr_plugin.data.grids import scale_per_axis
from moeisr_plugin.data.pairing import CACHES
from moeisr_plugin.data.resampling import DOWNSAMPLING
from moeisr_plugin.data.whole_patches import WHOLE
from moeisr_plugin.metrics import PROTOCOLS
from moeisr_plugin.models.acceleration import COMPILE_MODES
from moeisr_plugin.models.distillation import DEEPEST
from moeisr_plugin.options.folder_rules import FOLDERS, LISTINGS, TEMPLATES
from moeisr_plugin.options.rules import (
    EachKey,
    Rule,
    Section,
    Unread,
    Value,
    needed,
    or_empty,
)
from moeisr_plugin.options.signatures import named
from moeisr_plugin.options.values import (
    flag,
    list_of,
    number,
    one_of,
    range_of,
    text,
    whole,
)


def read_num_gpu(value: Any) -> int | str:
    return value if value == "auto" else whole(0).read(value)


def read_scale(value: Any) -> Any:
    """Return a scale as a number or a pair of numbers."""
    numbers = [number().read(axis) for axis in value] if isinstance(value, list) else number().read(value)
    scale_per_axis(numbers)
    return numbers


def between(least: float, most: float) -> Value:
    """Return the rule of a range of numbers with limits."""
    return range_of(number(least=least, most=most), f"both from {least} to {most}")


def read_modules(value: Any) -> list[str]:
    return [text().read(value)] if isinstance(value, str) else list_of(text()).read(value)


def read_samples(value: Any) -> int | str:
    return value if value == WHOLE else whole(1).read(value)


def read_compile(value: Any) -> bool | str:
    return value if value in COMPILE_MODES else flag().read(value)


_AT_LEAST_1 = number(least=1)
SCALE = Value(
    words="a number of at least 1, or two, [vertical, horizontal]",
    read=read_scale,
    json={"anyOf": [_AT_LEAST_1.json, list_of(_AT_LEAST_1, length=2).json]},
)
PROBABILITY = number(least=0, most=1)
QUALITIES = range_of(
    whole(JPEG_QUALITY[0], most=JPEG_QUALITY[1]), f"whole numbers from {JPEG_QUALITY[0]} to {JPEG_QUALITY[1]}"
)
NUM_GPU = Value(
    words="the number of GPUs, 0 for the CPU, or auto",
    read=read_num_gpu,
    json={"anyOf": [whole(0).json, {"const": "auto"}]},
)
COMPILE = Value(
    words=f"true, false, {', '.join(COMPILE_MODES)}",
    read=read_compile,
    json={"enum": [True, False, *COMPILE_MODES]},
)
SAMPLES = Value(
    words=f"a whole number of at least 1, or {WHOLE}",
    read=read_samples,
    json={"anyOf": [whole(1).json, {"const": WHOLE}]},
)
TEACHER = replace(text(), words=f"{DEEPEST}, or a file of weights")
RATES = EachKey(words="factors of the learning rate by part, such as {encoder: 0.1}", rule=number(above=0))
MODULES = Value(
    words="a list of modules, such as [my_package.my_encoder]",
    read=read_modules,
    json={"anyOf": [text().json, list_of(text()).json]},
)
WEIGHTS = replace(text(), words="a file of weights")
FOLDER = replace(text(), words="a folder of pictures or an LMDB")

# Keys of the toolbox's trainer and data loaders

TOP: dict[str, Rule] = {
    "name": needed(text()),
    "model_type": needed(named("model", lambda: dict(iter(MODEL_REGISTRY)))),
    "num_gpu": needed(NUM_GPU),
    "manual_seed": or_empty(whole(0, below=2**32)),
    "scale": SCALE,
    "find_unused_parameters": flag(),
    "import": or_empty(MODULES),
}

LOADER: dict[str, Rule] = {
    "name": needed(text()),
    "batch_size_per_gpu": whole(1),
    "num_worker_per_gpu": whole(0),
    "dataset_enlarge_ratio": number(above=0),
    "pin_memory": flag(),
    "persistent_workers": flag(),
    "prefetch_mode": or_empty(one_of("cpu", "cuda")),
    "num_prefetch_queue": whole(1),
}

LOGGER: dict[str, Rule] = {
    "print_freq": whole(1),
    "save_checkpoint_freq": whole(1),
    "use_tb_logger": flag(),
    "tb_pictures": whole(0),
    "wandb": or_empty(Section(keys={"project": or_empty(text()), "resume_id": or_empty(text())})),
}

DIST: dict[str, Rule] = {
    "backend": one_of("nccl", "gloo"),
    "port": whole(1, below=2**16),
}

PATH: dict[str, Rule] = {
    "resume_state": or_empty(text()),
    "ignore_resume_networks": or_empty(list_of(text())),
}

PATH_OF_NETWORK: dict[str, Rule] = {
    "pretrain_network": or_empty(WEIGHTS),
    "strict_load": flag(),
    "param_key": or_empty(text()),
}

SCHEDULE: dict[str, Rule] = {
    "total_iter": whole(1),
    "warmup_iter": whole(-1),
    "ema_decay": number(least=0, below=1),
}

VAL: dict[str, Rule] = {
    "val_freq": whole(1),
    "save_img": needed(flag()),
    "suffix": or_empty(text()),
    "pbar": flag(),
}

# Further keys that this package reads

IMPLICIT_TRAIN: dict[str, Rule] = {
    "random_gates_iter": whole(0),
    "mapper_alone_iter": whole(0),
    "freeze": list_of(text()),
    "encoder_from": or_empty(WEIGHTS),
    "precision": one_of("float32", "bfloat16", "float16"),
    "accumulate": whole(1),
    "replay_batches": whole(0),
    "clip_grad_norm": number(above=0),
    "channels_last": flag(),
    "compile": COMPILE,
    "tf32": flag(),
    "max_bad_steps": whole(1),
}

GAN_TRAIN: dict[str, Rule] = {
    "net_d_iters": whole(1),
    "net_d_init_iters": whole(0),
}

IMPLICIT_VAL: dict[str, Rule] = {
    "routing_health": flag(),
}

PICTURES: dict[str, Rule] = {
    "dataroot_gt": or_empty(FOLDERS),
    "dataroot_lq": or_empty(FOLDERS),
    "scale": or_empty(SCALE),
    "mixed_scales": flag(),
    "io_backend": Section(keys={"type": needed(one_of("disk", "lmdb"))}),
    "recursive": flag(),
    "filename_tmpl": TEMPLATES,
    "filename_tmpl_gt": TEMPLATES,
    "meta_info_file": or_empty(LISTINGS),
    "first_k": or_empty(whole(1)),
    "cache": one_of(*CACHES),
    "skip_bad_pictures": flag(),
    "max_pixels": whole(1),
}

DEGRADATION: dict[str, Rule] = {
    "blur": or_empty(Section(keys={"sigma": needed(between(*BLUR_SIGMA)), "probability": PROBABILITY})),
    "noise": or_empty(
        Section(
            keys={
                "sigma": needed(between(*NOISE_SIGMA)),
                "gray_probability": PROBABILITY,
                "probability": PROBABILITY,
            }
        )
    ),
    "jpeg": or_empty(Section(keys={"quality": needed(QUALITIES), "probability": PROBABILITY})),
}

DATASETS: dict[str, dict[str, Rule]] = {
    "ArbitraryScaleDataset": {
        **PICTURES,
        "dataroot_gt": needed(FOLDERS),
        "lr_size": whole(1),
        "scale_range": range_of(number(least=1), "both at least 1"),
        "sample_q": SAMPLES,
        "hr_size": or_empty(whole(1)),
        "use_hflip": flag(),
        "use_rot": flag(),
        "degradation": or_empty(Section(keys=DEGRADATION)),
        "use_shuffle": Unread(words="pictures are always shuffled"),
    },
    "ScaleValidationDataset": {
        **PICTURES,
        "downsample": one_of(*DOWNSAMPLING),
        "protocol": one_of(*PROTOCOLS),
    },
}

FOREIGN_PICTURES: dict[str, Rule] = {
    "dataroot_gt": FOLDER,
    "dataroot_lq": FOLDER,
}
