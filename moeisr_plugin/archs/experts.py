"""Experts: MLPs of increasing depth that map an embedding to RGB (paper, section 3.2)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from moeisr_plugin.ops.linear import linear, relu_

# Fraction of the default initialisation that is added to the identity. It is large enough to break the
# symmetry between units, and small enough that a deep expert starts as accurate as a shallow one.
_IDENTITY_NOISE = 0.3


class Expert(nn.Module):
    """An MLP with ReLU between its linear layers.

    Its state-dict keys are those of the published decoders: ``layers.0``, ``layers.2``, ...

    Args:
        in_features: width of the embedding.
        hidden_dim: width of each hidden layer.
        depth: number of linear layers, at least 2.
        identity_start: initialise the hidden layers after the first one near the identity. The identity
            does not change the output of a ReLU, so a deep expert starts as accurate as a shallow one.
        out_features: width of the output, 3 for RGB.

    Raises:
        ValueError: If `depth` is less than 2.
    """

    def __init__(
        self,
        *,
        in_features: int,
        hidden_dim: int,
        depth: int,
        identity_start: bool = False,
        out_features: int = 3,
    ) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f"an expert of depth {depth} has no hidden layer; the depth must be 2 or more")
        self.in_features = in_features
        self.hidden_dim = hidden_dim
        self.depth = depth
        self.out_features = out_features
        widths = [in_features, *[hidden_dim] * (depth - 1), out_features]
        linears = [nn.Linear(n_in, n_out) for n_in, n_out in pairwise(widths)]
        if identity_start:
            for hidden in linears[1:-1]:
                _move_to_identity(hidden)
        layers = [layer for linear in linears for layer in (linear, nn.ReLU())]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @property
    def first(self) -> nn.Linear:
        """The layer on the embedding. :meth:`.Embedding.precompute` evaluates it in folded form."""
        return self.linears[0]

    def finish(self, hidden: Tensor) -> Tensor:
        """Evaluate everything after the first linear layer.

        Args:
            hidden: output of the first layer before its ReLU, (..., hidden_dim). It is overwritten, because
                training is limited by memory bandwidth.

        Returns:
            RGB, nominally in [-1, 1], (..., 3).
        """
        *between, last = self.linears[1:]
        hidden = relu_(hidden)
        for layer in between:
            hidden = relu_(linear(hidden, layer.weight, layer.bias))
        return linear(hidden, last.weight, last.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map embeddings, (..., in_features), to RGB, nominally in [-1, 1], (..., 3)."""
        return self.layers(features)

    def macs(self) -> int:
        """Return the multiply-accumulates of one query, not folded. The paper calls them FLOPs.

        Layers are counted as built. Wrappers and replacements are not counted.
        """
        return self.hidden_dim * (self.in_features + (self.depth - 2) * self.hidden_dim + self.out_features)


def make_experts(
    *,
    in_features: int,
    hidden_dim: int,
    depths: Sequence[int],
    identity_start: bool = False,
    out_features: int = 3,
) -> nn.ModuleList:
    """Build one expert for each depth.

    Args:
        in_features: width of the embedding.
        hidden_dim: width of each hidden layer.
        depths: numbers of linear layers, strictly increasing.
        identity_start, out_features: see :class:`Expert`.

    Raises:
        ValueError: If `depths` is empty or does not increase, or if a depth is less than 2.
    """
    depths = list(depths)
    if not depths or depths != sorted(set(depths)):
        raise ValueError(f"expert_depths must grow from the shallowest expert to the deepest, not {depths}")
    return nn.ModuleList(
        Expert(
            in_features=in_features,
            hidden_dim=hidden_dim,
            depth=depth,
            identity_start=identity_start,
            out_features=out_features,
        )
        for depth in depths
    )


def _move_to_identity(linear: nn.Linear) -> None:
    with torch.no_grad():
        linear.weight.mul_(_IDENTITY_NOISE).add_(torch.eye(linear.out_features))
        linear.bias.mul_(_IDENTITY_NOISE)
