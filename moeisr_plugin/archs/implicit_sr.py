"""Arbitrary-scale super-resolution with an implicit decoder: embedding, experts and mapper."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs import coordinates, fast_path, reference, routing
from moeisr_plugin.archs.embeddings import Embedding, PixelTerms
from moeisr_plugin.archs.implicit_network import Decoding, Encoding, ImplicitNetwork
from moeisr_plugin.ops.precision import at_least_float32

__all__ = ["OWN_NETWORKS", "Decoding", "Encoding", "ImplicitSR", "Routing"]

OWN_NETWORKS = "LIIF, LTE, CiaoSR, MoEISRLIIF, MoEISRLTE, MoEISRCiaoSR or another ImplicitNetwork"
"""The registered networks of this package, as listed in messages."""


class Routing(NamedTuple):
    """Indices routed to each expert.

    Attributes:
        near: the V neighbours of each query.
        pixels: J tensors (N_j,), the LR pixels in [0, B*h*w) of each expert.
        queries: J tensors (M_j,), the neighbours in [0, V*B*Q) of each expert.
    """

    near: coordinates.Neighbours
    pixels: tuple[Tensor, ...]
    queries: tuple[Tensor, ...]


class ImplicitSR(ImplicitNetwork):
    """Implicit network that predicts the colour at any coordinate of an image (paper, Eqs. 1-5).

    Args:
        encoder: maps an LR image in [-1, 1], (B, 3, h, w), to a latent (B, D, h, w).
        embedding: maps a query to the input of the experts.
        experts: J experts, shallowest first.
        mapper: maps the latent to scores (B, J, h, w).
        base: image to which the output of the experts is added; see :mod:`.base_image`.
        local_ensemble: blend the outputs at the four latents around a query.
        tau: temperature of the Gumbel-softmax in training.
        hyper_parameters: keyword arguments that rebuild the network, and its registered ``type``.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        embedding: Embedding,
        experts: nn.ModuleList,
        mapper: nn.Module,
        base: nn.Module,
        local_ensemble: bool = True,
        tau: float = 1.0,
        hyper_parameters: dict[str, Any],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.embedding = embedding
        self.experts = experts
        self.mapper = mapper
        self.base = base
        self.local_ensemble = local_ensemble
        self.tau = tau
        self.hyper_parameters = hyper_parameters

    @property
    def precise_parts(self) -> Sequence[str]:
        return [f"embedding.{part}" for part in self.embedding.precise_parts]

    def decode(self, encoding: Encoding, coord: Tensor, cell: Tensor) -> Tensor:
        return self.dispatch(encoding, coord, cell)

    def forward(
        self,
        lr: Tensor,
        coord: Tensor,
        cell: Tensor,
        *,
        gate: Callable[[Tensor], Tensor] | None = None,
        choice: Tensor | None = None,
    ) -> Decoding:
        """Predict colours at coordinates.

        In training mode all experts are mixed, otherwise each LR pixel is routed to one expert.

        Args:
            lr: (B, 3, h, w) in [0, 1].
            coord: (B, Q, 2) in [-1, 1], y first.
            cell: (B, 2), size of an output pixel, (2/H, 2/W). It is not clipped here. LTE clips cells beyond
                the trained scales only when it renders a whole grid.
            gate: maps scores to gates, both (B, J, h, w). Used in training mode only. Defaults to the
                Gumbel-softmax.
            choice: (B, h, w) in [0, J), the expert of each LR pixel. If given, only these experts are
                evaluated, in both modes, and `gate` is ignored.

        Raises:
            ValueError: If the batch sizes differ, or `choice` does not have the shape (B, h, w).
        """
        if not len(lr) == len(coord) == len(cell):
            raise ValueError(
                f"batch sizes of lr, coord and cell differ: {len(lr)}, {len(coord)} and {len(cell)}"
            )
        if choice is not None and choice.shape != lr[:, 0].shape:
            raise ValueError(f"choice has shape {tuple(choice.shape)}; give {tuple(lr[:, 0].shape)}")
        coord, cell = at_least_float32(coord), at_least_float32(cell)
        # Before encoding: the host waits for the sizes of the groups, and must not wait for the encoder.
        routed = None if choice is None else self.route(choice, coord)
        encoding = self.encode(lr)
        if self.training and routed is None:
            rgb = self.mix(encoding, coord, cell, gate=gate)
        else:
            rgb = self.dispatch(encoding, coord, cell, routed=routed)
        return Decoding(rgb, at_least_float32(encoding.scores))

    def mix(
        self,
        encoding: Encoding,
        coord: Tensor,
        cell: Tensor,
        *,
        gate: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Predict colours (B, Q, 3) by the soft mixture of all experts (paper, Eq. 5).

        The arguments are those of :meth:`forward`.
        """
        gates = gate(encoding.scores) if gate else routing.gumbel_gates(encoding.scores, tau=self.tau)
        if not fast_path.serves(self):
            return reference.soft_mixture(self, encoding, coord, cell, gates)
        terms = self.precompute(encoding, cell)
        near = self.neighbours(coord, encoding.latent.shape[2:])
        rel = near.rel.flatten(0, 2)  # (V*B*Q, 2)
        outputs = routing.mix_experts(self.expert_list, terms, gates, near.index.flatten(), rel)
        return self.add_base(encoding.lr, coord, near.blend(outputs))

    def dispatch(
        self, encoding: Encoding, coord: Tensor, cell: Tensor, *, routed: Routing | None = None
    ) -> Tensor:
        """Predict colours (B, Q, 3) by one expert per LR pixel (paper, Eq. 4).

        Args:
            encoding: the encoded LR image.
            coord: (B, Q, 2) in [-1, 1], y first.
            cell: (B, 2), size of an output pixel, (2/H, 2/W).
            routed: result of :meth:`route`. Defaults to routing by the largest score.
        """
        near, pixels, queries = routed or self.route(routing.choose_expert(encoding.scores), coord)
        if not fast_path.serves(self):
            choice = routing.ungroup(pixels).view_as(encoding.scores[:, 0])
            return reference.hard_choice(self, encoding, coord, cell, choice)
        terms = self.precompute(encoding, cell, pixels)
        rel = near.rel.flatten(0, 2)  # (V*B*Q, 2)
        outputs = routing.dispatch_experts(self.expert_list, terms, queries, near.index.flatten(), rel)
        return self.add_base(encoding.lr, coord, near.blend(outputs))

    def route(self, choice: Tensor, coord: Tensor) -> Routing:
        """Route LR pixels and queries to experts.

        Args:
            choice: (B, h, w) in [0, J), expert of each LR pixel.
            coord: (B, Q, 2) in [-1, 1], y first.
        """
        near = self.neighbours(coord, choice.shape[1:])
        of_pixels = choice.flatten()  # (B*h*w,)
        of_queries = of_pixels[near.index.flatten()]  # (V*B*Q,)
        groups = (routing.group_by_expert(each, len(self.experts)) for each in (of_pixels, of_queries))
        return Routing(near, *groups)

    def precompute(
        self, encoding: Encoding, cell: Tensor, groups: Sequence[Tensor] | None = None
    ) -> PixelTerms:
        """Compute the terms that depend only on the LR pixel. See :meth:`.Embedding.precompute`."""
        latent = encoding.latent
        height, width = latent.shape[2:]
        rel_cell = torch.stack([cell[:, 0] * height, cell[:, 1] * width], dim=1)  # (B, 2)
        firsts = [expert.first for expert in self.expert_list]
        return self.embedding.precompute(self.pad(latent), rel_cell, firsts, groups)

    def neighbours(self, coord: Tensor, latent_size: Sequence[int]) -> coordinates.Neighbours:
        """Find the latents of an (h, w) grid from which each coordinate, (B, Q, 2), is decoded."""
        height, width = latent_size
        return coordinates.neighbours(coord, height, width, local_ensemble=self.local_ensemble)

    def pad(self, latent: Tensor) -> Tensor:
        """Pad a latent with zeros by the radius of the embedding."""
        return F.pad(latent, [self.embedding.radius] * 4)

    def add_base(self, lr: Tensor, coord: Tensor, outputs: Tensor) -> Tensor:
        """Add half of the blended outputs, (B, Q, 3) in [-1, 1], to the base image. Return (B, Q, 3)."""
        return self.base(lr, coord) + 0.5 * outputs
