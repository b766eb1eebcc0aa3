"""The experts: MLPs of growing depth that turn an embedding into RGB (paper, section 3.2)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from moeisr_plugin.ops.linear import linear, relu_

# Share of the default initialisation left in a hidden layer that starts as the identity: enough to
# break the symmetry between its units, little enough that depth costs nothing at first.
_IDENTITY_NOISE = 0.3


class Expert(nn.Module):
    """An MLP with ReLU between its layers, with the published decoders' keys: ``layers.0``, ``layers.2``...

    Args:
        in_features: width of the embedding.
        hidden_dim: width of every hidden layer.
        depth: number of linear layers, at least 2.
        identity_start: start the hidden layers beyond the first near the identity. After a ReLU the
            identity is exactly representable, so a deep expert begins as good as a shallow one.

    Raises:
        ValueError: if depth is below 2.
    """

    def __init__(
        self, *, in_features: int, hidden_dim: int, depth: int, identity_start: bool = False
    ) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f"an expert of depth {depth} has no hidden layer; the depth must be 2 or more")
        self.in_features = in_features
        self.hidden_dim = hidden_dim
        self.depth = depth
        widths = [in_features, *[hidden_dim] * (depth - 1), 3]
        linears = [nn.Linear(n_in, n_out) for n_in, n_out in pairwise(widths)]
        if identity_start:
            for hidden in linears[1:-1]:
                _move_to_identity(hidden)
        layers = [layer for linear in linears for layer in (linear, nn.ReLU())]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers with parameters, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @property
    def first(self) -> nn.Linear:
        """The layer that reads the embedding; an embedding evaluates it folded."""
        return self.linears[0]

    def finish(self, hidden: Tensor) -> Tensor:
        """From the first layer's output before its ReLU, (..., hidden_dim), to RGB in [-1, 1], (..., 3).

        The first layer's output is overwritten: in training, memory is what a layer takes its time for.
        """
        *between, last = self.linears[1:]
        hidden = relu_(hidden)
        for layer in between:
            hidden = relu_(linear(hidden, layer.weight, layer.bias))
        return linear(hidden, last.weight, last.bias)

    def forward(self, features: Tensor) -> Tensor:
        """From the whole embedding, (..., in_features), to RGB in [-1, 1], (..., 3)."""
        return self.layers(features)

    def macs(self) -> int:
        """Multiply-accumulates of one query, unfolded: what the paper counts as FLOPs.

        Those of the layers it was built with; what wraps or replaces them is not counted.
        """
        return self.hidden_dim * (self.in_features + (self.depth - 2) * self.hidden_dim + 3)


def make_experts(
    *, in_features: int, hidden_dim: int, depths: Sequence[int], identity_start: bool = False
) -> nn.ModuleList:
    """One expert per depth, shallowest first.

    Raises:
        ValueError: if the depths do not grow.
    """
    depths = list(depths)
    if not depths or depths != sorted(set(depths)):
        raise ValueError(f"expert_depths must grow from the shallowest expert to the deepest, not {depths}")
    return nn.ModuleList(
        Expert(in_features=in_features, hidden_dim=hidden_dim, depth=depth, identity_start=identity_start)
        for depth in depths
    )


def _move_to_identity(linear: nn.Linear) -> None:
    with torch.no_grad():
        linear.weight.mul_(_IDENTITY_NOISE).add_(torch.eye(linear.out_features))
        linear.bias.mul_(_IDENTITY_NOISE)
