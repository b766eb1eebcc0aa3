"""An encoder whose convolutions compute with 8-bit codes."""

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from moeisr_plugin.archs.fast_path import is_plain
from moeisr_plugin.ops.int8_chain import Int8Convolutions, Ranges

# With fewer input channels, or a kernel of one pixel, coding the input takes longer than is saved.
_FEWEST_CHANNELS = 16
_SMALLEST_KERNEL = 3
# Largest accepted error of the output for a sample, relative to the output.
_LARGEST_ERROR = 0.1


def with_int8_convolutions(network: nn.Module, sample: Tensor) -> tuple[nn.Module, Tensor]:
    """Return a copy of a network with convolutions on 8-bit codes. The rest stays in float32.

    Convolutions with a ReLU between them pass codes to each other. A convolution with a hook or a
    parametrisation, without zero padding, with groups, few channels or a kernel of one pixel stays as it is.
    If the output for the sample then differs, for example because a chain is not called as a whole, all
    convolutions stay.

    Args:
        network: the network, in float32 on a CPU.
        sample: sample inputs (B, C, h, w), whose ranges are coded.

    Returns:
        The copy, and the output of the network for the sample.

    Raises:
        ValueError: a weight is not finite.
    """
    original, network = network, copy.deepcopy(network).eval()
    places = list(_chains(network))
    observed = _Extremes([layer for place in places for layer in place.layers])
    output = network(sample)
    observed.stop()
    for parent, names, layers, relu in places:
        if all(layer in observed.found for layer in layers):  # otherwise some are not called
            (low, high), *hidden = (observed.found[layer] for layer in layers)
            ranges = Ranges(low, high, [most.clamp_min(0) for _, most in hidden])
            for name in names:
                setattr(parent, name, nn.Identity())
            setattr(parent, names[0], Int8Convolutions(layers, ranges, relu=relu))
    error = (network(sample.contiguous(memory_format=torch.channels_last)) - output).norm() / output.norm()
    return network if error < _LARGEST_ERROR else copy.deepcopy(original).eval(), output


class _Chain(NamedTuple):
    """Children of a module that one chain replaces.

    Attributes:
        parent: the module.
        names: names of the children.
        layers: the convolutions among them.
        relu: whether the last child is a ReLU.
    """

    parent: nn.Module
    names: list[str]
    layers: list[nn.Conv2d]
    relu: bool


def _chains(network: nn.Module) -> Iterator[_Chain]:
    for parent in list(network.modules()):
        chain = none = _Chain(parent, [], [], False)
        in_sequence = isinstance(parent, nn.Sequential) and type(parent).forward is nn.Sequential.forward
        for name, child in parent.named_children():
            if chain.layers and in_sequence and not chain.relu and is_plain(child, nn.ReLU):
                chain = chain._replace(names=[*chain.names, name], relu=True)
            elif chain.relu and _is_convertible(child):
                chain = _Chain(parent, [*chain.names, name], [*chain.layers, child], False)
            else:
                if chain.layers:
                    yield chain
                chain = _Chain(parent, [name], [child], False) if _is_convertible(child) else none
        if chain.layers:
            yield chain


def _is_convertible(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        is_plain(module, nn.Conv2d)
        and isinstance(module, nn.Conv2d)
        and module.in_channels >= _FEWEST_CHANNELS
        and min(module.kernel_size) >= _SMALLEST_KERNEL
        and module.groups == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


class _Extremes:
    """Observes the smallest and the largest input of each channel of some layers, until stopped.

    Attributes:
        found: (C,) and (C,) by layer, over all calls.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.found: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._hooks = [layer.register_forward_pre_hook(self._observe) for layer in layers]

    def _observe(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        low, high = torch.aminmax(inputs[0].transpose(0, 1).flatten(1), dim=1)  # (C,) each
        if layer in self.found:
            low, high = low.minimum(self.found[layer][0]), high.maximum(self.found[layer][1])
        self.found[layer] = low, high

    def stop(self) -> None:
        for hook in self._hooks:
            hook.remove()
