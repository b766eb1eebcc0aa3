"""Arbitrary-scale super-resolution by an implicit decoder: an embedding, experts and a mapper."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs import coordinates, fast_path, reference, routing
from moeisr_plugin.archs.embeddings import Embedding, Ground
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.ops.precision import at_least_float32


class Encoding(NamedTuple):
    """All that decoding needs of an LR picture; made once, decoded as often as one likes."""

    lr: Tensor  # (B, 3, h, w) in [0, 1]
    latent: Tensor  # (B, D, h, w)
    scores: Tensor  # (B, J, h, w), how well each expert suits each LR pixel


class Deal(NamedTuple):
    """What is each expert's: of LR pixels, and of what queries are decoded from."""

    near: coordinates.Neighbours
    pixels: tuple[Tensor, ...]  # J of (N_j,), of the B*h*w LR pixels
    queries: tuple[Tensor, ...]  # J of (M_j,), of the V*B*Q neighbours


class Decoding(NamedTuple):
    """The answer to a forward pass."""

    rgb: Tensor  # (B, Q, 3), nominally in [0, 1]
    scores: Tensor  # (B, J, h, w), in float32 or better, as losses sum them over all pixels


class ImplicitSR(nn.Module):
    """A network that answers for the colour at any coordinate of a picture (paper, Eqs. 1-5).

    Args:
        encoder: LR picture in [-1, 1], (B, 3, h, w), to latent (B, D, h, w).
        embedding: what the experts are told about a query.
        experts: shallowest first.
        mapper: latent to scores (B, J, h, w).
        base: the picture the experts paint on.
        local_ensemble: blend the answers from the four latents around a query.
        tau: temperature of the Gumbel-softmax in training.
        hyper_parameters: the keyword arguments that rebuild the network, with its registered ``type``.
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
        self.allow_tf32 = False  # in rendering, on a GPU; see `render.precision`

    def encode(self, lr: Tensor) -> Encoding:
        """From an LR picture in [0, 1], (B, 3, h, w), to its latent and the mapper's scores."""
        latent = self.encoder((lr - 0.5) / 0.5)
        return Encoding(lr, latent, self.mapper(latent))

    def forward(
        self,
        lr: Tensor,
        coord: Tensor,
        cell: Tensor,
        *,
        gate: Callable[[Tensor], Tensor] | None = None,
        choice: Tensor | None = None,
    ) -> Decoding:
        """Colours at coordinates, in training mode by the soft mixture, else by one expert per LR pixel.

        Args:
            lr: (B, 3, h, w) in [0, 1].
            coord: (B, Q, 2) in [-1, 1], y first.
            cell: (B, 2), size of an output pixel, (2/H, 2/W), which the experts are told as it is: on LTE
                cells beyond the trained ones are clipped only where a whole grid is rendered.
            gate: in training mode, scores to weights of the experts, both (B, J, h, w); Gumbel-softmax
                if not given.
            choice: (B, h, w) in [0, J), the expert of each LR pixel, in either mode and whatever the gate; no
                others are asked.

        Raises:
            ValueError: if the batches differ, or the choice is not one for each LR pixel.
        """
        if not len(lr) == len(coord) == len(cell):
            raise ValueError(f"batches of {len(lr)} pictures, {len(coord)} coord and {len(cell)} cell differ")
        if choice is not None and choice.shape != lr[:, 0].shape:
            raise ValueError(f"a choice of {tuple(choice.shape)} for pictures of {tuple(lr[:, 0].shape)}")
        coord, cell = at_least_float32(coord), at_least_float32(cell)
        # Before encoding, as a GPU's host waits for the groups' sizes, and would wait for the encoder.
        deal = None if choice is None else self.deal(choice, coord)
        encoding = self.encode(lr)
        if self.training and deal is None:
            rgb = self.mix(encoding, coord, cell, gate=gate)
        else:
            rgb = self.dispatch(encoding, coord, cell, deal=deal)
        return Decoding(rgb, at_least_float32(encoding.scores))

    def mix(
        self,
        encoding: Encoding,
        coord: Tensor,
        cell: Tensor,
        *,
        gate: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Colours (B, Q, 3) by all experts, weighted (paper, Eq. 5). Arguments as of :meth:`forward`."""
        gates = gate(encoding.scores) if gate else routing.gumbel_gates(encoding.scores, tau=self.tau)
        if not fast_path.serves(self):
            return reference.soft_mixture(self, encoding, coord, cell, gates)
        ground = self.ground(encoding, cell)
        near = self.neighbours(coord, encoding.latent.shape[2:])
        rel = near.rel.flatten(0, 2)  # (V*B*Q, 2)
        answers = routing.mix_experts(self.expert_list, ground, gates, near.index.flatten(), rel)
        return self.paint(encoding.lr, coord, near.blend(answers))

    def dispatch(
        self, encoding: Encoding, coord: Tensor, cell: Tensor, *, deal: Deal | None = None
    ) -> Tensor:
        """Colours (B, Q, 3), each neighbour's by its own expert: that of the largest score (paper, Eq. 4), or
        as they are dealt.
        """
        near, pixels, queries = deal or self.deal(routing.choose_expert(encoding.scores), coord)
        if not fast_path.serves(self):
            choice = routing.ungroup(pixels).view_as(encoding.scores[:, 0])
            return reference.hard_choice(self, encoding, coord, cell, choice)
        ground = self.ground(encoding, cell, pixels)
        rel = near.rel.flatten(0, 2)  # (V*B*Q, 2)
        answers = routing.dispatch_experts(self.expert_list, ground, queries, near.index.flatten(), rel)
        return self.paint(encoding.lr, coord, near.blend(answers))

    def deal(self, choice: Tensor, coord: Tensor) -> Deal:
        """What each expert answers for, by the choice of one for each LR pixel, (B, h, w)."""
        near = self.neighbours(coord, choice.shape[1:])
        of_pixels = choice.flatten()  # (B*h*w,)
        of_queries = of_pixels[near.index.flatten()]  # (V*B*Q,)
        groups = (routing.group_by_expert(each, len(self.experts)) for each in (of_pixels, of_queries))
        return Deal(near, *groups)

    @property
    def expert_list(self) -> list[Expert]:
        """The experts, shallowest first.

        Raises:
            ValueError: one of them is of another class, so that its depth and MACs are not known.
        """
        for j, expert in enumerate(self.experts):
            if not isinstance(expert, Expert):
                kind = type(expert).__name__
                raise ValueError(f"experts.{j} is a {kind}, of unknown depth and MACs; give an Expert")
        return [expert for expert in self.experts if isinstance(expert, Expert)]

    def ground(self, encoding: Encoding, cell: Tensor, groups: Sequence[Tensor] | None = None) -> Ground:
        """What is computed once per LR pixel, for all experts or, in groups, for the chosen one alone."""
        latent = encoding.latent
        height, width = latent.shape[2:]
        rel_cell = torch.stack([cell[:, 0] * height, cell[:, 1] * width], dim=1)  # (B, 2)
        firsts = [expert.first for expert in self.expert_list]
        return self.embedding.ground(self.pad(latent), rel_cell, firsts, groups)

    def neighbours(self, coord: Tensor, latent_size: Sequence[int]) -> coordinates.Neighbours:
        """The latents, of (h, w), that each coordinate, (B, Q, 2), is decoded from."""
        height, width = latent_size
        return coordinates.neighbours(coord, height, width, local_ensemble=self.local_ensemble)

    def pad(self, latent: Tensor) -> Tensor:
        """The latent with the rim of zeros that the embedding looks at."""
        return F.pad(latent, [self.embedding.radius] * 4)

    def paint(self, lr: Tensor, coord: Tensor, answers: Tensor) -> Tensor:
        """Blended answers in [-1, 1], (B, Q, 3), painted on the base picture, (B, Q, 3)."""
        return self.base(lr, coord) + 0.5 * answers
