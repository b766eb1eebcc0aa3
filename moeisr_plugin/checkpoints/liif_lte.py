"""Weights saved by the published code of LIIF and LTE, turned into checkpoints of this package.

That code saves ``{'model': {'name', 'args', 'sd'}, ...}``: a decoder's registered name, its constructor's
arguments, which name the encoder and the MLP in the same way, and its weights. What it leaves out of the
arguments has the defaults of its constructors, which stand below.
"""

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from moeisr_plugin.archs.pretrained import check_fit
from moeisr_plugin.archs.registry import build_network
from moeisr_plugin.checkpoints.network import as_checkpoint, is_published
from moeisr_plugin.utils.tensor_files import CheckpointError, read_tensor_file

_DECODERS: dict[str, dict[str, Any]] = {
    "liif": {"local_ensemble": True, "feat_unfold": True, "cell_decode": True},
    "lte": {"hidden_dim": 256},
}
_ENCODERS: dict[str, dict[str, Any]] = {
    "edsr-baseline": {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0, "scale": 2, "rgb_range": 1.0},
    "edsr": {"n_resblocks": 32, "n_feats": 256, "res_scale": 0.1, "scale": 2, "rgb_range": 1.0},
    "rdn": {"G0": 64, "RDNkSize": 3, "RDNconfig": "B", "scale": 2},
    "swinir": {},
}
# D, C and G of RDN's two published configurations.
_RDN_CONFIGS = {
    "A": {"num_block": 20, "num_layer": 6, "num_grow_ch": 32},
    "B": {"num_block": 16, "num_layer": 8, "num_grow_ch": 64},
}
# Beginnings of the names that differ: here, there.
_RENAMED = (
    ("experts.0.", "imnet."),
    ("embedding.", ""),
)
# EDSR holds a shift of the mean that it does not apply.
_UNUSED = ("encoder.sub_mean.", "encoder.add_mean.")
# SwinIR's buffers, which follow from its options.
_DERIVED = ("attn_mask", "relative_position_index")


def checkpoint_from(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The checkpoint of a file of weights: as it is, or converted if the published code saved it.

    Args:
        path: a checkpoint, or LIIF or LTE on edsr-baseline, edsr, rdn or swinir, without upsampling.

    Returns:
        ``{'params', 'network_g', ...}``; a converted network decodes to the published numbers.

    Raises:
        CheckpointError: naming the first keys of the file that are missing, unknown or do not fit.
    """
    content = read_tensor_file(path)
    return _converted(content["model"], path) if is_published(content) else as_checkpoint(content, path)


def _converted(spec: Mapping[str, Any], path: str | os.PathLike[str]) -> dict[str, Any]:
    net = build_network(_Reader(path).network(spec))
    own = net.state_dict()
    wanted = {
        _published_name(key): value for key, value in own.items() if key.rpartition(".")[2] not in _DERIVED
    }
    given = {
        key: value
        for key, value in spec["sd"].items()
        if not str(key).startswith(_UNUSED) and str(key).rpartition(".")[2] not in _DERIVED
    }
    check_fit(given, wanted, path, spec["name"])
    _load(net, given)
    return {"params": net.state_dict(), "network_g": net.hyper_parameters}


def _load(net: nn.Module, published: Mapping[str, Tensor]) -> None:
    own = {key: published.get(_published_name(key), value) for key, value in net.state_dict().items()}
    net.load_state_dict(own)


def _published_name(key: str) -> str:
    for here, there in _RENAMED:
        if key.startswith(here):
            return there + key.removeprefix(here)
    return key


class _Reader:
    """Reads the arguments in a file, so that each complaint can name the file and the key."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def network(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a whole network."""
        name, args = self.named(spec, "model", _DECODERS, also=("encoder_spec", "imnet_spec"))
        encoder = self.encoder(args["encoder_spec"])
        mlp = self.mlp(args["imnet_spec"])
        if name == "lte":
            return {"type": "LTE", "encoder": encoder, **mlp, "num_freq_features": args["hidden_dim"]}
        return {
            "type": "LIIF",
            "encoder": encoder,
            **mlp,
            "unfold": args["feat_unfold"],
            "cell_decode": args["cell_decode"],
            "local_ensemble": args["local_ensemble"],
        }

    def encoder(self, spec: Any) -> dict[str, Any]:
        """The options of an encoder."""
        key = "model.args.encoder_spec"
        name, args = self.named(spec, key, _ENCODERS, also=("no_upsampling",))
        # SwinIR has no upsampling, whatever this says; for the others the default is to upsample.
        if name != "swinir" and args["no_upsampling"] is not True:
            raise self.error(
                f"{key}.args.no_upsampling", "must be true: an encoder gives a latent of LR size"
            )
        if name == "swinir":
            return {"type": "SwinIREncoder"}
        if name == "rdn":
            if args["RDNkSize"] != 3:
                raise self.error(f"{key}.args.RDNkSize", f"must be 3, not {args['RDNkSize']}")
            if args["RDNconfig"] not in _RDN_CONFIGS:
                raise self.error(f"{key}.args.RDNconfig", f"must be A or B, not {args['RDNconfig']!r}")
            return {"type": "RDNEncoder", "num_feat": args["G0"], **_RDN_CONFIGS[args["RDNconfig"]]}
        return {
            "type": "EDSREncoder",
            "num_feat": args["n_feats"],
            "num_block": args["n_resblocks"],
            "res_scale": args["res_scale"],
        }

    def mlp(self, spec: Any) -> dict[str, Any]:
        """Width and depth of the decoder's MLP."""
        key = "model.args.imnet_spec"
        _, args = self.named(spec, key, {"mlp": {}}, also=("out_dim", "hidden_list"))
        if args["out_dim"] != 3:
            raise self.error(f"{key}.args.out_dim", f"must be 3, for RGB, not {args['out_dim']!r}")
        widths = args["hidden_list"]
        if not isinstance(widths, list | tuple) or len(set(map(str, widths))) != 1 or not _is_size(widths[0]):
            raise self.error(f"{key}.args.hidden_list", f"must hold one width throughout, not {widths!r}")
        return {"hidden_dim": widths[0], "depth": len(widths) + 1}

    def named(
        self, spec: Any, key: str, known: Mapping[str, Mapping[str, Any]], *, also: tuple[str, ...]
    ) -> tuple[str, dict[str, Any]]:
        """A part's name and its arguments over the defaults; those in `also` have None for a default."""
        if not isinstance(spec, Mapping) or not isinstance(spec.get("args"), Mapping):
            raise self.error(key, "must hold a name and args")
        name = spec.get("name")
        if not isinstance(name, str) or name not in known:
            raise self.error(f"{key}.name", f"is {name!r}; it can be {', '.join(known)}")
        defaults = known[name]
        for argument, value in spec["args"].items():
            if argument not in defaults and argument not in also:
                raise self.error(f"{key}.args.{argument}", f"is unknown to {name}")
            if argument in defaults and not _is_like(value, defaults[argument]):
                raise self.error(
                    f"{key}.args.{argument}", f"is {value!r}; a value such as {defaults[argument]!r} is due"
                )
        return name, {**dict.fromkeys(also), **defaults, **spec["args"]}

    def error(self, key: str, complaint: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {key} {complaint}")


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value can stand where a default does: a flag, a positive size, a factor or a word."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int):
        return _is_size(value)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, type(default))
