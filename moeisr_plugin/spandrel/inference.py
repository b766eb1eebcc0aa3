"""Hyper-parameters of a network from the names and shapes of its weights.

Weights leave no trace of a few hyper-parameters. These have the defaults of their classes: `local_ensemble`,
`max_trained_scale`, and `padding` of SwinIR. `res_scale` of EDSR is 1 in the widths that are trained with 1.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

REMEDY = "write a file with its hyper-parameters by moeisr_plugin.spandrel.save"

_WIDE_EDSR = 128
"""Width from which EDSR needs a `res_scale` below 1 to train (arXiv 1707.02921, section 3.1)."""

_TABLE = "attn.relative_position_bias_table"


def inferred(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyper-parameters of LIIF, LTE or a mixture on one of them, as ``network_g``.

    Args:
        weights: the state dict of the network.

    Raises:
        ValueError: the encoder or the decoder is another one; one line with the remedy.
    """
    try:
        encoder, channels = _encoder(weights)
        first = weights["experts.0.layers.0.weight"]  # (hidden_dim, in_features)
        lte = "embedding.coef.weight" in weights
        embedding = _lte(weights) if lte else _liif(first.shape[1], channels)
        depths = [
            sum(f"experts.{j}.layers.{2 * i}.weight" in weights for i in range(len(weights)))
            for j in range(_count(weights, "experts.{}.layers.0.weight"))
        ]
        mixture = _mixture(weights, depths) if "mapper.0.weight" in weights else {"depth": depths[0]}
        kind = ("MoEISR" if "mapper.0.weight" in weights else "") + ("LTE" if lte else "LIIF")
    except (AttributeError, ArithmeticError, LookupError) as error:
        raise ValueError(f"its weights have unexpected names or shapes; {REMEDY}") from error
    return {"type": kind, "encoder": encoder, "hidden_dim": first.shape[0], **embedding, **mixture}


def _count(weights: Mapping[str, Any], name: str) -> int:
    """Return the number of consecutive numbers, from 0, for which a weight of this name exists."""
    return next(number for number in itertools.count() if name.format(number) not in weights)


def _liif(in_features: int, channels: int) -> dict[str, Any]:
    for unfold, cell_decode in itertools.product((True, False), repeat=2):
        if in_features == channels * (9 if unfold else 1) + (4 if cell_decode else 2):
            return {"unfold": unfold, "cell_decode": cell_decode}
    raise ValueError(f"its decoder is neither that of LIIF nor that of LTE; {REMEDY}")


def _lte(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {"num_freq_features": weights["embedding.coef.weight"].shape[0]}


def _mixture(weights: Mapping[str, Any], depths: list[int]) -> dict[str, Any]:
    first = weights["mapper.0.weight"]  # (mapper_hidden_dim, D, mapper_kernel_size, mapper_kernel_size)
    depth = sum(f"mapper.{2 * i}.weight" in weights for i in range(len(weights)))
    return {
        "expert_depths": depths,
        "mapper_depth": depth,
        "mapper_kernel_size": first.shape[2],
        "mapper_hidden_dim": first.shape[0] if depth > 1 else None,
    }


def _encoder(weights: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the options of the encoder, and the width of its latent."""
    of_encoder = {
        name.removeprefix("encoder."): weight
        for name, weight in weights.items()
        if name.startswith("encoder.")
    }
    if "head.0.weight" in of_encoder and "body.0.body.0.weight" in of_encoder:
        options = _edsr(of_encoder)
    elif "SFENet1.weight" in of_encoder:
        options = _rdn(of_encoder)
    elif f"layers.0.residual_group.blocks.0.{_TABLE}" in of_encoder:
        return _swinir(of_encoder), 64
    else:
        raise ValueError(f"its encoder is unknown, not EDSREncoder, RDNEncoder or SwinIREncoder; {REMEDY}")
    return options, options["num_feat"]


def _edsr(weights: Mapping[str, Any]) -> dict[str, Any]:
    width = weights["head.0.weight"].shape[0]
    if width >= _WIDE_EDSR:
        raise ValueError(f"its weights do not state res_scale of an EDSR with {width} channels; {REMEDY}")
    return {
        "type": "EDSREncoder",
        "num_feat": width,
        "num_block": _count(weights, "body.{}.body.0.weight"),
    }


def _rdn(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "RDNEncoder",
        "num_feat": weights["SFENet1.weight"].shape[0],
        "num_block": _count(weights, "RDBs.{}.LFF.weight"),
        "num_layer": _count(weights, "RDBs.0.convs.{}.conv.0.weight"),
        "num_grow_ch": weights["RDBs.0.convs.0.conv.0.weight"].shape[0],
    }


def _swinir(weights: Mapping[str, Any]) -> dict[str, Any]:
    groups = range(_count(weights, f"layers.{{}}.residual_group.blocks.0.{_TABLE}"))
    tables = [weights[f"layers.{group}.residual_group.blocks.0.{_TABLE}"] for group in groups]
    width = weights["conv_first.weight"].shape[0]
    hidden = weights["layers.0.residual_group.blocks.0.mlp.fc1.weight"].shape[0]
    return {
        "type": "SwinIREncoder",
        "embed_dim": width,
        "depths": [
            _count(weights, f"layers.{group}.residual_group.blocks.{{}}.{_TABLE}") for group in groups
        ],
        "num_heads": [table.shape[1] for table in tables],  # of ((2 * window_size - 1)², heads)
        "window_size": (math.isqrt(tables[0].shape[0]) + 1) // 2,
        "mlp_ratio": hidden / width,
        "resi_connection": "1conv" if "layers.0.conv.weight" in weights else "3conv",
    }
