"""Freeze parts of a network during training."""

from collections.abc import Iterable, Sequence

from torch import nn


def is_below(name: str, prefixes: Iterable[str]) -> bool:
    """Return whether a parameter belongs to a part, as ``encoder.conv_first.weight`` does to ``encoder``."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def unknown_parts(net: nn.Module, prefixes: Iterable[str]) -> list[str]:
    """Return the prefixes that no parameter of a network has."""
    names = [name for name, _ in net.named_parameters()]
    return [prefix for prefix in prefixes if not any(is_below(name, [prefix]) for name in names)]


def freeze(net: nn.Module, prefixes: Sequence[str]) -> None:
    """Disable gradients of the parameters with these prefixes. Autograd then keeps no graph for them.

    Raises:
        ValueError: no parameter has one of the prefixes.
    """
    if unknown := unknown_parts(net, prefixes):
        parts = ", ".join(name for name, _ in net.named_children())
        raise ValueError(
            f"train.freeze: no parameter of the network is below {unknown[0]!r}; its parts are {parts}, and "
            "parts of these, such as experts.0"
        )
    for name, parameter in net.named_parameters():
        if is_below(name, prefixes):
            parameter.requires_grad_(False)


def learning_experts(experts: nn.ModuleList) -> list[int]:
    """Return the indices of the experts with at least one parameter that is not frozen."""
    return [
        index for index, expert in enumerate(experts) if any(p.requires_grad for p in expert.parameters())
    ]
