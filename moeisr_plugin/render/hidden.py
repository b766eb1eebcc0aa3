"""An expert's layers on blocks of hidden states, in place: two buffers serve all layers of all blocks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs.experts import Expert

# Rows of a width that is a multiple of a cache line's are multiplied faster.
_ALIGNMENT = 16
# A product that is four numbers high takes two thirds of the time of one that is three high, and one that is
# four wide takes longer.
_ANSWER = 4


class HiddenLayers:
    """What an expert computes of a hidden state, its biases being one more row of the weights."""

    def __init__(self, expert: Expert) -> None:
        *between, last = expert.linears[1:]
        self.between = [_with_bias(linear).t().contiguous() for linear in between]  # (C + 1, C) each
        self.last = _padded(_with_bias(last), _ANSWER, _padded_width(last.in_features))  # (4, C + padding)


class HiddenStates:
    """Two buffers of hidden states, of M queries and of a width C, that layers write to in turn.

    Each hidden state ends in a 1, which the biases are multiplied with.
    """

    def __init__(self, queries: int, width: int, *, like: Tensor) -> None:
        self._width = width
        self._now, self._next = (like.new_zeros(queries, _padded_width(width)) for _ in range(2))
        self._now[:, width] = self._next[:, width] = 1

    def block(self, *shape: int) -> Tensor:
        """Where the first layer is to be written to, for so many queries, (*shape, C)."""
        return self._now[: torch.Size(shape).numel(), : self._width].unflatten(0, shape)

    def finish(self, layers: HiddenLayers, queries: int) -> Tensor:
        """From the first layer's output before its ReLU to RGB in [-1, 1], (queries, 3)."""
        now, spare = self._now[:queries], self._next[:queries]  # (N, C + padding)
        for weight in layers.between:
            torch.mm(relu_(now)[:, : self._width + 1], weight, out=spare[:, : self._width])
            now, spare = spare, now
        return (layers.last @ relu_(now).t())[:3].t()


def relu_(hidden: Tensor) -> Tensor:
    """ReLU in place.

    Numbers of 16 bits are compared as integers, whose sign bit is theirs: a processor that has no
    arithmetic of such numbers would convert each to float32 and back.
    """
    if hidden.element_size() == 2 and hidden.device.type == "cpu":
        hidden.view(torch.int16).clamp_min_(0)
        return hidden
    return hidden.relu_()


def _padded_width(width: int) -> int:
    """The next multiple of the alignment that has room for a bias, too."""
    return width + _ALIGNMENT - width % _ALIGNMENT


def _padded(matrix: Tensor, height: int, width: int) -> Tensor:
    return F.pad(matrix, [0, width - matrix.shape[1], 0, height - matrix.shape[0]])


def _with_bias(linear: nn.Linear) -> Tensor:
    return torch.cat([linear.weight, linear.bias[:, None]], dim=1)
