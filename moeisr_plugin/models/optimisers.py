"""Optimisers and learning rate schedules of torch, built by name."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from moeisr_plugin.models.freezing import is_below

# Classes unsuitable for a training that calls step() once per iteration with all weights and biases.
_UNSUITABLE_OPTIMISERS = {
    "LBFGS": "evaluates the loss several times per step",
    "SparseAdam": "is for sparse gradients",
    "Muon": "is for matrices alone, and networks here have convolutions and biases",
}
_UNSUITABLE_SCHEDULERS = {
    "ReduceLROnPlateau": "waits for a metric",
    "LambdaLR": "needs a function",
    "MultiplicativeLR": "needs a function",
    "ChainedScheduler": "needs other schedulers",
    "SequentialLR": "needs other schedulers",
}
# Entries of a parameter group that come from the option file. Schedules may change the other numbers.
_GROUP_SETTINGS = ("initial_lr", "max_lr", "min_lr", "weight_decay", "rate")
# Options of train.optim_g by their entries in a group.
_OPTIONS = {"initial_lr": "lr", "weight_decay": "weight_decay", "rate": "rates"}
# Optimisers with a fused CUDA implementation in every supported version of torch.
_FUSED_ON_CUDA = ("Adam", "AdamW", "SGD")
# Options that choose the implementation and do not change the algorithm.
_IMPLEMENTATIONS = ("fused", "foreach", "differentiable")


def parameter_groups(net: nn.Module, rates: Mapping[str, float]) -> list[Any]:
    """Return the parameters that learn, for an optimiser.

    Args:
        net: the network.
        rates: factor of the learning rate by prefix, such as ``{"encoder": 0.1}``. The longest prefix counts.

    Returns:
        The parameters. With rates, a group for each prefix, after the group of the other parameters. The
        entry ``rate`` of a group is its factor; see :func:`apply_rates`.

    Raises:
        ValueError: no parameter that learns has one of the prefixes.
    """
    learning = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    if not rates:
        return list(learning.values())
    members: dict[str, list[Parameter]] = {prefix: [] for prefix in ("", *rates)}
    for name, parameter in learning.items():
        prefixes = [prefix for prefix in rates if is_below(name, [prefix])]
        members[max(prefixes, key=len, default="")].append(parameter)
    for prefix in rates:
        if not members[prefix]:
            parts = ", ".join(name for name, _ in net.named_children())
            raise ValueError(
                f"train.optim_g.rates: no parameter that learns is below {prefix!r}; "
                f"the network has {parts}, and parts of these, such as experts.0"
            )
    groups = [{"params": members[prefix], "rate": rates.get(prefix, 1.0)} for prefix in members]
    return [group for group in groups if group["params"]]


def apply_rates(optimiser: Optimizer) -> None:
    """Multiply the learning rate of each group by its factor.

    A schedule sets the same rate for all groups. So the factor also scales the lowest rate of a schedule.
    """
    for group in optimiser.param_groups:
        if "rate" in group:
            group["lr"] = group["lr"] * group["rate"]


def build_optimiser(
    name: str, parameters: Sequence[Any], *, key: str = "train.optim_g", **options: Any
) -> Optimizer:
    """Build an optimiser of torch.optim, by default fused on CUDA, which is faster.

    The optimiser keeps its own implementation when it loads a state that was saved with another.

    Args:
        name: name of the class, such as AdamW.
        parameters: the parameters to optimise, or groups of them.
        key: where the options stand, for messages.
        options: arguments of the class, see the documentation of torch.

    Raises:
        ValueError: the optimiser is unknown or unsuitable, or does not accept the options.
    """
    kind = _class_named(name, torch.optim, suitable_optimisers(), _UNSUITABLE_OPTIMISERS, key=key)
    is_chosen = options.keys() & set(_IMPLEMENTATIONS)
    if name in _FUSED_ON_CUDA and not is_chosen and all(p.is_cuda for p in _members(parameters)):
        options["fused"] = True
    optimiser: Optimizer = _instantiate(kind, parameters, options, key=key)
    optimiser.register_load_state_dict_pre_hook(_keep_implementation)
    optimiser.register_load_state_dict_post_hook(_lay_out_as_parameters)
    return optimiser


def build_scheduler(name: str, optimiser: Optimizer, **options: Any) -> LRScheduler:
    """Build a schedule of torch.optim.lr_scheduler.

    Args:
        name: name of the class, such as CosineAnnealingLR.
        optimiser: the optimiser whose learning rate it sets.
        options: arguments of the class, see the documentation of torch. Epochs and steps mean iterations.

    Raises:
        ValueError: the schedule is unknown or unsuitable, or does not accept the options.
    """
    kind = _class_named(
        name, lr_scheduler, suitable_schedulers(), _UNSUITABLE_SCHEDULERS, key="train.scheduler"
    )
    return _instantiate(kind, optimiser, options, key="train.scheduler")


def schedule_settings(scheduler: LRScheduler, named: Iterable[str]) -> dict[str, Any]:
    """Return the entries of the state of a schedule that come from the option file, not from its progress.

    Args:
        scheduler: a schedule of torch or of the toolbox.
        named: names of the settings in the option file.
    """
    settings = {*named, "cumulative_period"}  # the toolbox derives cumulative_period from periods
    return {key: value for key, value in scheduler.state_dict().items() if key in settings}


def optimiser_settings(optimiser: Optimizer) -> list[dict[str, Any]]:
    """Return the entries of each parameter group that come from the option file, not from the progress."""
    return [{key: group[key] for key in _GROUP_SETTINGS if key in group} for group in optimiser.param_groups]


def settle_optimiser(
    optimiser: Optimizer, scheduler: LRScheduler, settings: Sequence[dict[str, Any]]
) -> list[str]:
    """Apply the settings of the current option file to a resumed optimiser and its schedule.

    Args:
        optimiser: the optimiser with its saved state.
        scheduler: the schedule with its saved state.
        settings: result of :func:`optimiser_settings` before the state was loaded.

    Returns:
        The options of the optimiser that differ from those in the saved state.
    """
    changed: set[str] = set()
    last_lr = []
    for group, own, lr in zip(optimiser.param_groups, settings, scheduler.get_last_lr(), strict=True):
        changed |= {key for key, value in own.items() if group.get(key, value) != value}
        if "initial_lr" in own:
            lr *= own["initial_lr"] / group.get("initial_lr", own["initial_lr"])
        last_lr.append(lr)
        group.update(own)
    if "initial_lr" in changed:
        scheduler.base_lrs = [group["initial_lr"] for group in optimiser.param_groups]
        scheduler._last_lr = last_lr
    return [option for key, option in _OPTIONS.items() if key in changed]


def suitable_optimisers() -> dict[str, type[Any]]:
    """Return the optimisers of torch that can be used, by name."""
    return _suitable(torch.optim, Optimizer, _UNSUITABLE_OPTIMISERS)


def suitable_schedulers() -> dict[str, type[Any]]:
    """Return the schedules of torch that can be used, by name."""
    return _suitable(lr_scheduler, LRScheduler, _UNSUITABLE_SCHEDULERS)


def _members(parameters: Iterable[Any]) -> Iterator[Parameter]:
    """Yield the parameters of groups, or those that are given without a group."""
    for each in parameters:
        yield from each["params"] if isinstance(each, Mapping) else [each]


def _keep_implementation(optimiser: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return a state to load with the implementation of this optimiser.

    It must be set before loading, because it decides which tensors torch moves to the GPU.
    """
    groups = [dict(group) for group in state["param_groups"]]
    for group, own in zip(groups, optimiser.param_groups, strict=False):  # torch checks the number itself
        group.update({key: own[key] for key in _IMPLEMENTATIONS if key in own})
    return {**state, "param_groups": groups}


def _lay_out_as_parameters(optimiser: Optimizer) -> None:
    """Give the state tensors the strides of their parameters, as fused implementations require."""
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            has_same_shape = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if has_same_shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _suitable(module: ModuleType, base: type, unsuitable: dict[str, str]) -> dict[str, type[Any]]:
    public = {n: kind for n, kind in vars(module).items() if isinstance(kind, type) and not n.startswith("_")}
    return {
        name: kind
        for name, kind in public.items()
        if issubclass(kind, base) and kind is not base and name not in unsuitable
    }


def _class_named(
    name: str, module: ModuleType, suitable: dict[str, type[Any]], unsuitable: dict[str, str], *, key: str
) -> type[Any]:
    if name in unsuitable:
        raise ValueError(f"{key}.type: {name} {unsuitable[name]}; choose another")
    if name not in suitable:
        nearest = get_close_matches(str(name), suitable, n=1, cutoff=0.4) or sorted(suitable)
        raise ValueError(f"{key}.type: {module.__name__} has no {name}; did you mean {', '.join(nearest)}?")
    return suitable[name]


def _instantiate(kind: type[Any], subject: Any, options: dict[str, Any], *, key: str) -> Any:
    allowed = list(inspect.signature(kind).parameters)[1:]
    for option in options:
        if option not in allowed:
            raise ValueError(f"{key}.{option}: {kind.__name__} takes no such option; {', '.join(allowed)}")
    try:
        return kind(subject, **options)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{key}: {kind.__name__} refuses its options: {reason}") from error
