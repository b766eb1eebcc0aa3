"""Check combinations of settings of the network of ImplicitSRModel; see :mod:`.contradictions`."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import torch
from basicsr.utils.registry import ARCH_REGISTRY

from moeisr_plugin.archs.encoders.network_encoder_arch import NetworkEncoder
from moeisr_plugin.archs.encoders.toolbox_encoder_arch import FAMILIES, ToolboxEncoder
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import OWN_NETWORKS
from moeisr_plugin.losses.names import SCORE_LOSSES
from moeisr_plugin.models.distillation import DEEPEST
from moeisr_plugin.models.freezing import freeze, learning_experts
from moeisr_plugin.models.optimisers import parameter_groups
from moeisr_plugin.options.rules import nearest
from moeisr_plugin.options.runs import Check, Finding, Run
from moeisr_plugin.options.signatures import defaults, find
from moeisr_plugin.utils.messages import one_line


def is_own_network(network_class: Any) -> TypeGuard[type[ImplicitNetwork]]:
    """Return whether the class is a network of this package."""
    return isinstance(network_class, type) and issubclass(network_class, ImplicitNetwork)


def network(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    kind = (opt.get("network_g") or {}).get("type")
    network_class = find(dict(iter(ARCH_REGISTRY)), kind)
    if isinstance(network_class, type) and not is_own_network(network_class):
        text = f"is {kind}, but ImplicitSRModel trains {OWN_NETWORKS}; change one or the other"
        yield "network_g.type", text


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
    if options.get("type") == "NetworkEncoder" and not any(
        getattr(part, "faulty", ()) for part in (options, options["network"])
    ):
        described = {key: value for key, value in options.items() if key not in ("type", "pretrained")}
        try:
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                NetworkEncoder(**described)
        except Exception as error:  # networks of any package check their parameters in their own way
            reason = one_line(error)
            if not isinstance(error, ValueError):
                reason = f"{described['network']['type']} cannot be built and run: {reason}"
            yield path, reason.removeprefix("NetworkEncoder: ")


def _num_experts(network: Mapping[str, Any]) -> int | None:
    """Return the number of experts of a network; None if its type is not known."""
    known = known_defaults(network)
    if "expert_depths" not in known:
        return 1 if "depth" in known else None
    depths: Sequence[int] = network.get("expert_depths", known["expert_depths"])
    return len(depths)


def known_defaults(network: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a network of this package; those of another network are not known."""
    network_class = find(dict(iter(ARCH_REGISTRY)), network.get("type"))
    return defaults(network_class) if is_own_network(network_class) else {}


NETWORK: tuple[Check, ...] = (network, experts, frozen, start_of_encoder, encoder)
