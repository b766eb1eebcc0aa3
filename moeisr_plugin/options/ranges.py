"""Ranges of the parameters of networks, losses, metrics, optimisers and schedulers, by name.

A signature does not state them.
"""

from collections.abc import Callable
from typing import Any

from basicsr.archs import vgg_arch
from basicsr.models import lr_scheduler as toolbox_schedulers

from moeisr_plugin.metrics import PROTOCOLS
from moeisr_plugin.models.optimisers import suitable_schedulers
from moeisr_plugin.options.keys import SCALE
from moeisr_plugin.options.rules import EachKey, Rule, Value, or_empty
from moeisr_plugin.options.values import list_of, number, one_of, whole

VGG_TYPES = [name + suffix for name in vgg_arch.NAMES for suffix in ("", "_bn")]


def read_growing(value: Any) -> list[int]:
    depths = list_of(whole(2)).read(value)
    if not depths or depths != sorted(set(depths)):
        raise ValueError
    return depths


def read_odd(value: Any) -> int:
    kernel = whole(1).read(value)
    if kernel % 2 == 0:
        raise ValueError
    return kernel


DEPTHS = Value(
    words="whole numbers of at least 2 that grow, such as [2, 3, 4, 5]",
    read=read_growing,
    json={**list_of(whole(2)).json, "minItems": 1, "uniqueItems": True},
)
ODD = Value(
    words="an odd whole number of at least 1",
    read=read_odd,
    json={**whole(1).json, "not": {"multipleOf": 2}},
)

NETWORK_RANGES: dict[str, Rule] = {
    "hidden_dim": whole(1),
    "depth": whole(2),
    "expert_depths": DEPTHS,
    "non_local_scales": list_of(whole(2)),
    "mapper_depth": whole(1),
    "mapper_kernel_size": ODD,
    "mapper_hidden_dim": or_empty(whole(1)),
    "tau": number(above=0),
    "num_freq_features": whole(1),
    "max_trained_scale": number(least=1),
    "width": whole(1),
    "window": whole(1),
    "halo": or_empty(whole(0)),
    "num_feat": whole(1),
    "num_block": whole(1),
    "num_layer": whole(1),
    "num_grow_ch": whole(1),
    "embed_dim": whole(1),
    "window_size": whole(1),
    "mlp_ratio": number(above=0),
    "drop_path_rate": number(least=0, below=1),
}

LOSS_RANGES: dict[str, Rule] = {
    "loss_weight": number(least=0),
    "expert_weights": or_empty(list_of(number(above=0))),
    "reduction": one_of("none", "mean", "sum"),
    "layer_weights": EachKey(words="weights of layers of VGG, such as {conv5_4: 1}", rule=number(least=0)),
    "vgg_type": one_of(*VGG_TYPES),
    "perceptual_weight": number(least=0),
    "style_weight": number(least=0),
    "criterion": one_of("l1", "fro"),  # l2 fails in the toolbox
    "gan_type": one_of("vanilla", "lsgan", "wgan", "wgan_softplus", "hinge"),
}

# Training needs a scalar loss.
PIXEL_LOSS_RANGES: dict[str, Rule] = {**LOSS_RANGES, "reduction": one_of("mean", "sum")}

OPTIMISER_RANGES: dict[str, Rule] = {
    "lr": number(above=0),
    "betas": list_of(number(least=0, below=1), length=2),
    "eps": number(above=0),
    "weight_decay": number(least=0),
    "momentum": number(least=0),
}

SCHEDULER_RANGES: dict[str, Rule] = {
    "milestones": list_of(whole(1)),
    "gamma": number(above=0),
    "restarts": list_of(whole(0)),
    "restart_weights": list_of(number(above=0)),
    "periods": list_of(whole(1)),
    "eta_min": number(least=0),
    "T_max": whole(1),
}

METRIC_RANGES: dict[str, Rule] = {
    "protocol": one_of(*PROTOCOLS),
    "scale": SCALE,
    "crop_border": whole(0),
}


def schedulers() -> dict[str, Callable]:
    """Return the torch schedulers that an option file can configure, and those of the toolbox."""
    return {
        **suitable_schedulers(),
        "MultiStepLR": toolbox_schedulers.MultiStepRestartLR,
        "MultiStepRestartLR": toolbox_schedulers.MultiStepRestartLR,
        "CosineAnnealingRestartLR": toolbox_schedulers.CosineAnnealingRestartLR,
    }
