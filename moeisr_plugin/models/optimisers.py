"""Optimisers and schedules of the learning rate, by the names torch gives them."""

import inspect
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

# What a training that calls step() once per iteration, on weights and biases alike, cannot use.
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
# The rest of a parameter group's numbers a schedule may have moved.
_SETTLED_IN_GROUPS = ("initial_lr", "max_lr", "min_lr", "weight_decay")
# What of them train.optim_g names, and how.
_OPTIONS = {"initial_lr": "lr", "weight_decay": "weight_decay"}
# Fused on CUDA in every torch that is supported.
_FUSED_ON_CUDA = ("Adam", "AdamW", "SGD")
# How an optimiser computes, not what.
_IMPLEMENTATIONS = ("fused", "foreach", "differentiable")


def build_optimiser(name: str, parameters: Sequence[Parameter], **options: Any) -> Optimizer:
    """An optimiser of torch.optim; fused without being asked to where that is faster: on CUDA.

    It computes as it was built to, whatever the optimiser whose state it loads did.

    Args:
        name: the class, such as AdamW.
        parameters: what it optimises.
        options: of the class, as torch documents them.

    Raises:
        ValueError: no such optimiser, one that cannot be used, or options that it does not take.
    """
    kind = _class_named(name, torch.optim, suitable_optimisers(), _UNSUITABLE_OPTIMISERS, key="train.optim_g")
    chosen = options.keys() & set(_IMPLEMENTATIONS)
    if name in _FUSED_ON_CUDA and not chosen and all(p.is_cuda for p in parameters):
        options["fused"] = True
    optimiser: Optimizer = _built(kind, parameters, options, key="train.optim_g")
    optimiser.register_load_state_dict_pre_hook(_keep_implementation)
    optimiser.register_load_state_dict_post_hook(_lay_out_as_parameters)
    return optimiser


def build_scheduler(name: str, optimiser: Optimizer, **options: Any) -> LRScheduler:
    """A schedule of torch.optim.lr_scheduler, which is stepped once per iteration.

    Args:
        name: the class, such as CosineAnnealingLR.
        optimiser: whose learning rate it sets.
        options: of the class, as torch documents them; what it counts in epochs or steps are iterations.

    Raises:
        ValueError: no such schedule, one that cannot be used, or options that it does not take.
    """
    kind = _class_named(
        name, lr_scheduler, suitable_schedulers(), _UNSUITABLE_SCHEDULERS, key="train.scheduler"
    )
    return _built(kind, optimiser, options, key="train.scheduler")


def schedule_settings(scheduler: LRScheduler, named: Iterable[str]) -> dict[str, Any]:
    """What of a schedule's state an option file settles; the rest is how far it has come.

    Args:
        scheduler: of torch or of the toolbox.
        named: the settings that the option file has.
    """
    settled = {*named, "cumulative_period"}  # which the toolbox derives from its periods
    return {key: value for key, value in scheduler.state_dict().items() if key in settled}


def optimiser_settings(optimiser: Optimizer) -> list[dict[str, Any]]:
    """What of each parameter group's state an option file settles, before a training is taken up again."""
    return [
        {key: group[key] for key in _SETTLED_IN_GROUPS if key in group} for group in optimiser.param_groups
    ]


def settle_optimiser(
    optimiser: Optimizer, scheduler: LRScheduler, settings: Sequence[dict[str, Any]]
) -> list[str]:
    """Settle a training that was taken up again as its option file has it now.

    Args:
        optimiser: with the state that was saved.
        scheduler: of its learning rate, likewise.
        settings: what :func:`optimiser_settings` gave before.

    Returns:
        The options of the optimiser that are no longer what they were.
    """
    changed: set[str] = set()
    for group, own in zip(optimiser.param_groups, settings, strict=True):
        changed |= {key for key, value in own.items() if group.get(key, value) != value}
        if "initial_lr" in own:
            group["lr"] *= own["initial_lr"] / group.get("initial_lr", own["initial_lr"])
        group.update(own)
    if "initial_lr" in changed:
        scheduler.base_lrs = [group["initial_lr"] for group in optimiser.param_groups]
        scheduler._last_lr = [group["lr"] for group in optimiser.param_groups]
    return [option for key, option in _OPTIONS.items() if key in changed]


def suitable_optimisers() -> dict[str, type[Any]]:
    """Those of torch that take a step from the gradients of any parameters, by name."""
    return _suitable(torch.optim, Optimizer, _UNSUITABLE_OPTIMISERS)


def suitable_schedulers() -> dict[str, type[Any]]:
    """Those of torch that can be told in an option file, by name."""
    return _suitable(lr_scheduler, LRScheduler, _UNSUITABLE_SCHEDULERS)


def _keep_implementation(optimiser: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """The state to be loaded; before that, as by it torch decides what is moved to a GPU."""
    groups = [dict(group) for group in state["param_groups"]]
    for group, own in zip(groups, optimiser.param_groups, strict=False):  # torch refuses another number
        group.update({key: own[key] for key in _IMPLEMENTATIONS if key in own})
    return {**state, "param_groups": groups}


def _lay_out_as_parameters(optimiser: Optimizer) -> None:
    """Puts what is remembered of parameters in their order in memory, as fused implementations demand."""
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            alike = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if alike and value.stride() != parameter.stride():
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


def _built(kind: type[Any], subject: Any, options: dict[str, Any], *, key: str) -> Any:
    allowed = list(inspect.signature(kind).parameters)[1:]
    for option in options:
        if option not in allowed:
            raise ValueError(f"{key}.{option}: {kind.__name__} takes no such option; {', '.join(allowed)}")
    try:
        return kind(subject, **options)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{key}: {kind.__name__} refuses its options: {reason}") from error
