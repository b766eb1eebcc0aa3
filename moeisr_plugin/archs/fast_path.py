"""Which networks the folded evaluation serves: those made of exactly the modules it knows.

The folded evaluation reads weights and calls no layer. A replaced or wrapped layer, a hook, a parametrisation
or a quantised weight has no effect there. Networks with any of these use `reference` instead.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from moeisr_plugin.archs.embeddings import LTEEmbedding
from moeisr_plugin.archs.experts import Expert

if TYPE_CHECKING:
    from moeisr_plugin.archs.implicit_sr import ImplicitSR


def serves(net: "ImplicitSR") -> bool:
    """Return whether the folded evaluation of a network equals its own layers.

    An embedding of a type that is not known here folds itself in its own `precompute`.
    """
    embedding = net.embedding
    return (
        all(_is_plain_expert(expert) for expert in net.experts)
        and len({expert.first.out_features for expert in net.expert_list}) == 1
        and (type(embedding) is not LTEEmbedding or _is_plain_lte(embedding))
    )


def is_plain(module: nn.Module, *types: type[nn.Module]) -> bool:
    """Return whether a module is exactly of one of the types, and calling it runs only that type's forward.

    A parametrised module fails, as its parametrisation replaces its type.
    """
    return type(module) in types and not has_hooks(module) and "forward" not in module.__dict__


def has_hooks(module: nn.Module) -> bool:
    """Return whether calling a module runs hooks: before or after its forward, or in its backward."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def _is_plain_expert(expert: nn.Module) -> bool:
    """Return whether it is linear layers with biases and a ReLU between each two."""
    if not (
        is_plain(expert, Expert) and isinstance(expert, Expert) and is_plain(expert.layers, nn.Sequential)
    ):
        return False
    layers = list(expert.layers)
    return len(layers) % 2 == 1 and all(
        is_plain(layer, nn.ReLU) if i % 2 else is_plain(layer, nn.Linear) and _has_plain_weights(layer)
        for i, layer in enumerate(layers)
    )


def _is_plain_lte(embedding: LTEEmbedding) -> bool:
    """Return whether amplitudes and frequencies are the convolutions that LTE has.

    The phase is missing here, as the folded evaluation calls it as a module.
    """
    return all(
        is_plain(part, nn.Conv2d)
        and _has_plain_weights(part)
        and (part.kernel_size, part.padding, part.stride) == ((3, 3), (1, 1), (1, 1))
        and (part.dilation, part.groups, part.padding_mode) == ((1, 1), 1, "zeros")
        for part in (embedding.coef, embedding.freq)
    )


def _has_plain_weights(layer: nn.Module) -> bool:
    """Return whether weight and bias exist, and are not tensors that wrap others, as quantised weights do."""
    return all(
        isinstance(tensor, Tensor) and not is_traceable_wrapper_subclass(tensor)
        for tensor in (layer.weight, layer.bias)
    )
