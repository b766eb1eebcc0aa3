"""Convert weights saved by the published code of LIIF and LTE to checkpoints of this package.

That code saves ``{'model': {'name', 'args', 'sd'}, ...}``: the registered name of the decoder, the arguments
of its constructor, and its weights. The arguments describe the encoder and the MLP in the same form. Omitted
arguments have the defaults of the published constructors, which are listed below.
"""

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from moeisr_plugin.archs.pretrained import check_fit
from moeisr_plugin.archs.registry import build_network
from moeisr_plugin.checkpoints.building import bounded_by
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
# D, C and G of the two published configurations of RDN.
_RDN_CONFIGS = {
    "A": {"num_block": 20, "num_layer": 6, "num_grow_ch": 32},
    "B": {"num_block": 16, "num_layer": 8, "num_grow_ch": 64},
}
# Prefixes of parameter names that differ: (this package, published code).
_RENAMED = (
    ("experts.0.", "imnet."),
    ("embedding.", ""),
)
# EDSR stores mean shifts that its forward pass does not use.
_UNUSED = ("encoder.sub_mean.", "encoder.add_mean.")
# Buffers of SwinIR that follow from its options.
_DERIVED = ("attn_mask", "relative_position_index")


def checkpoint_from(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint. Convert it if the published code saved it.

    Args:
        path: a checkpoint, or published weights of LIIF or LTE on edsr-baseline, edsr, rdn or swinir without
            upsampling.

    Returns:
        ``{'params', 'network_g', ...}``.

    Raises:
        CheckpointError: keys are missing, unknown or do not fit. The message names the first ones.
    """
    content = read_tensor_file(path)
    return _converted(content["model"], path) if is_published(content) else as_checkpoint(content, path)


def _converted(spec: Mapping[str, Any], path: str | os.PathLike[str]) -> dict[str, Any]:
    options = _Reader(path).network(spec)
    try:
        with bounded_by(spec["sd"]):
            net = build_network(options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: the network it is of cannot be built ({reason})") from error
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
    for own, published in _RENAMED:
        if key.startswith(own):
            return published + key.removeprefix(own)
    return key


class _Reader:
    """Convert the arguments in a file to options. Each error names the file and the key."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def network(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of the network."""
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
        """Return the options of the encoder."""
        key = "model.args.encoder_spec"
        name, args = self.named(spec, key, _ENCODERS, also=("no_upsampling",))
        # SwinIR ignores no_upsampling. The other encoders upsample by default.
        if name != "swinir" and args["no_upsampling"] is not True:
            raise self.error(
                f"{key}.args.no_upsampling", "must be true, because the latent must have the size of LR"
            )
        if name == "swinir":
            return {"type": "SwinIREncoder", "padding": "published"}
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
        """Return width and depth of the decoder MLP."""
        key = "model.args.imnet_spec"
        _, args = self.named(spec, key, {"mlp": {}}, also=("out_dim", "hidden_list"))
        if args["out_dim"] != 3:
            raise self.error(f"{key}.args.out_dim", f"must be 3, for RGB, not {args['out_dim']!r}")
        widths = args["hidden_list"]
        if not isinstance(widths, list | tuple) or len(set(map(str, widths))) != 1 or not _is_size(widths[0]):
            raise self.error(f"{key}.args.hidden_list", f"must contain equal widths, not {widths!r}")
        return {"hidden_dim": widths[0], "depth": len(widths) + 1}

    def named(
        self, spec: Any, key: str, known: Mapping[str, Mapping[str, Any]], *, also: tuple[str, ...]
    ) -> tuple[str, dict[str, Any]]:
        """Return the name of a component and its arguments, completed by defaults.

        Args:
            spec: the component, ``{'name', 'args'}``.
            key: path of the component in the file, for messages.
            known: defaults of the arguments, by supported name.
            also: further arguments, with the default None.
        """
        if not isinstance(spec, Mapping) or not isinstance(spec.get("args"), Mapping):
            raise self.error(key, "must contain a name and args")
        name = spec.get("name")
        if not isinstance(name, str) or name not in known:
            raise self.error(f"{key}.name", f"is {name!r}; supported are {', '.join(known)}")
        defaults = known[name]
        for argument, value in spec["args"].items():
            if argument not in defaults and argument not in also:
                raise self.error(f"{key}.args.{argument}", f"is unknown to {name}")
            if argument in defaults and not _is_like(value, defaults[argument]):
                raise self.error(
                    f"{key}.args.{argument}",
                    f"is {value!r}; a value such as {defaults[argument]!r} is expected",
                )
        return name, {**dict.fromkeys(also), **defaults, **spec["args"]}

    def error(self, key: str, problem: str) -> CheckpointError:
        """Return an error that names the file and the key."""
        return CheckpointError(f"{self.path}: {key} {problem}")


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_like(value: Any, default: Any) -> bool:
    """Return whether a value has the kind of the default: a flag, positive size, factor or string."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int):
        return _is_size(value)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, type(default))
