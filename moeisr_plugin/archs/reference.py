"""The networks as their publications write them, for any query, with nothing folded or grouped.

Each layer runs through its own forward, so that hooks, wrappers, parametrisations and quantised layers act.
The rest of the package computes the same faster. Tests and benchmarks compare it with this module, and
networks that the fast path does not serve (`fast_path`) are evaluated by it.

=================================  =======================================================
:meth:`.ImplicitSR.encode`         z = E(I_LR), Eq. 1, and D = M(z), Eq. 3 (MoEISR)
:func:`soft_mixture`               Eq. 5: training
:func:`hard_choice`                Eq. 4: inference; of one expert, Eq. 2
:func:`local_ensemble`             Eq. 4 of LIIF
:func:`feature_maps`               feature unfolding of LIIF; amplitudes, frequencies of LTE
:func:`expert_input`               (z_k, x_q - x_k) and the cell, as LIIF and LTE write it
=================================  =======================================================

Shapes: B pictures, Q queries, J experts, D channels of the latent, C channels of an expert's input. A
coordinate is (y, x) in [-1, 1]², a cell the size of an output pixel, (2/H, 2/W).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs.embeddings import Embedding, LIIFEmbedding, LTEEmbedding
from moeisr_plugin.ops.precision import at_least_float32, float32_or_better, without_autocast

if TYPE_CHECKING:
    from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR

# Queries decoded at a time in the published configurations of LIIF and LTE (`eval_bsize`).
CHUNK = 30_000

# From an expert's input (B, Q, C) and the coordinates of latents (B, Q, 2) to colours in [-1, 1], (B, Q, 3).
Decoder = Callable[[Tensor, Tensor], Tensor]


def soft_mixture(
    net: "ImplicitSR", encoding: "Encoding", coord: Tensor, cell: Tensor, gates: Tensor
) -> Tensor:
    """Return s_q = Σ_j g(D_k)_j f_j(z_k, x_q - x_k) (MoEISR, section 3.2, Eq. 5).

    Args:
        net: the network.
        encoding: of B pictures.
        coord: (B, Q, 2) in [-1, 1], y first.
        cell: (B, 2).
        gates: g(D), the weight of each expert at each LR pixel, (B, J, h, w).

    Returns:
        RGB, nominally in [0, 1], (B, Q, 3).
    """

    def decode(inputs: Tensor, of_latents: Tensor) -> Tensor:
        answers = torch.stack([call(expert, inputs) for expert in net.experts], dim=-1)  # (B, Q, 3, J)
        weights = nearest(gates, of_latents)[..., None, :]  # (B, Q, 1, J)
        return (answers * weights).sum(-1)

    return local_ensemble(net, encoding, feature_maps(net.embedding, encoding.latent), coord, cell, decode)


def hard_choice(
    net: "ImplicitSR", encoding: "Encoding", coord: Tensor, cell: Tensor, choice: Tensor | None = None
) -> Tensor:
    """Return s_q = f_j(z_k, x_q - x_k), j = arg max_i D_ki (MoEISR, section 3.2, Eq. 4).

    Args:
        net: the network.
        encoding: of B pictures.
        coord: (B, Q, 2) in [-1, 1], y first.
        cell: (B, 2).
        choice: j of each LR pixel, (B, h, w) in [0, J); the arg max if not given.

    Returns:
        RGB, nominally in [0, 1], (B, Q, 3).
    """
    maps = feature_maps(net.embedding, encoding.latent)
    choice = encoding.scores.argmax(1) if choice is None else choice  # (B, h, w)
    return local_ensemble(net, encoding, maps, coord, cell, _chosen(net, choice))


@torch.no_grad()
def render(net: "ImplicitSR", encoding: "Encoding", size: tuple[int, int], *, chunk: int = CHUNK) -> Tensor:
    """Return a whole output grid by Eq. 4, some queries at a time.

    Args:
        net: the network.
        encoding: of B pictures.
        size: (H, W) of the output.
        chunk: queries decoded at a time.

    Returns:
        (B, 3, H, W), nominally in [0, 1], not clamped.
    """
    latent, dtype = encoding.latent, float32_or_better(encoding.latent)
    maps = feature_maps(net.embedding, latent)
    coord = _centres(size, latent.to(dtype)).flatten(1).mT.expand(len(latent), -1, -1)  # (B, H*W, 2)
    in_latents = coord.new_tensor(latent.shape[2:])  # (2,)
    height, width = latent.shape[2:]
    cell = coord.new_tensor(net.embedding.rel_cell(size, (height, width))) / in_latents  # (2,)
    cell, decode = cell.expand(len(latent), 2), _chosen(net, encoding.scores.argmax(1))
    parts = [local_ensemble(net, encoding, maps, part, cell, decode) for part in coord.split(chunk, dim=1)]
    return torch.cat(parts, dim=1).mT.unflatten(2, size)  # (B, 3, H, W)


def local_ensemble(
    net: "ImplicitSR",
    encoding: "Encoding",
    maps: Sequence[Tensor],
    coord: Tensor,
    cell: Tensor,
    decode: Decoder,
) -> Tensor:
    """Return Σ_t (S_t / S) f(z_t, x_q - x_t), each neighbour t by its diagonally opposite area (LIIF, Eq. 4).

    The sum is halved and added to mid-grey on LIIF, to the bilinearly enlarged LR picture on LTE.
    """
    latent_size = encoding.latent.shape[2:]
    centres = _centres(latent_size, coord).expand(len(coord), -1, -1, -1)  # (B, 2, h, w)
    in_latents = coord.new_tensor(latent_size)  # (2,)
    rel_cell = (cell * in_latents)[:, None].expand(coord.shape)  # (B, Q, 2)
    answers, areas = [], []
    for of_latents in _neighbours(coord, latent_size, ensemble=net.local_ensemble):
        rel = (coord - nearest(centres, of_latents)) * in_latents  # (B, Q, 2)
        found = [nearest(each, of_latents) for each in maps]  # (B, Q, C) each
        answers.append(decode(expert_input(net.embedding, found, rel, rel_cell), of_latents))
        areas.append(rel.prod(-1).abs() + 1e-9)
    weights = torch.stack(areas[::-1]) / torch.stack(areas).sum(0)  # (V, B, Q), the opposite ones' areas
    blended = (torch.stack(answers) * weights[..., None]).sum(0)  # (B, Q, 3)
    return net.base(encoding.lr, coord) + 0.5 * blended


def feature_maps(embedding: Embedding, latent: Tensor) -> list[Tensor]:
    """Return what queries read of each LR pixel, (B, C, h, w) each, from the latent (B, D, h, w).

    LIIF: the 3x3 neighbourhood, channel by channel (section 3, feature unfolding). LTE: amplitudes and
    frequencies (section 3), the latter in float32 or better.
    """
    if isinstance(embedding, LIIFEmbedding):
        unfolded = F.unfold(latent, 2 * embedding.radius + 1, padding=embedding.radius)  # (B, D*9, h*w)
        return [unfolded.unflatten(2, latent.shape[2:])]
    if isinstance(embedding, LTEEmbedding):
        with without_autocast(latent):
            freq = call(embedding.freq, at_least_float32(latent))
        return [call(embedding.coef, latent), freq]
    raise TypeError(
        f"archs.reference has no equations for {type(embedding).__name__}; "
        "add them, or use experts without wrapped layers and hooks"
    )


def expert_input(embedding: Embedding, found: Sequence[Tensor], rel: Tensor, rel_cell: Tensor) -> Tensor:
    """Return what an expert reads of a query and one latent, (..., C).

    LIIF: [z; x_q - x_k; cell] (section 3). LTE: A ⊙ [cos π(F·(x_q - x_k) + P); sin π(...)] (section 3).

    Args:
        embedding: of the network.
        found: the feature maps at the latent, (..., C) each, broadcastable.
        rel: x_q - x_k, in latents, (..., 2).
        rel_cell: the cell in latents, (..., 2), broadcastable.
    """
    if isinstance(embedding, LIIFEmbedding):
        parts = [*found, rel, rel_cell[..., : embedding.cell_columns]]
        return torch.cat([part.expand(*rel.shape[:-1], -1) for part in parts], dim=-1)
    assert isinstance(embedding, LTEEmbedding)
    amplitude, frequency = found
    with without_autocast(rel):
        phase = call(embedding.phase, rel_cell)  # (..., C/2)
        angle = math.pi * ((frequency.unflatten(-1, (-1, 2)) * rel[..., None, :]).sum(-1) + phase)
    return amplitude * torch.cat([angle.cos(), angle.sin()], dim=-1)


def nearest(picture: Tensor, coord: Tensor) -> Tensor:
    """Return a picture (B, C, h, w) at the pixels nearest to coordinates (B, Q, 2), (B, Q, C)."""
    grid = coord.flip(-1)[:, None]  # (B, 1, Q, 2), x first
    return F.grid_sample(picture.to(grid), grid, mode="nearest", align_corners=False)[:, :, 0].mT


def call(module: nn.Module, x: Tensor) -> Tensor:
    """Call a module on x in the type of its parameters; in float32 or better if none is floating-point."""
    types = (parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())
    return module(x.to(next(types, float32_or_better(x))))


def _chosen(net: "ImplicitSR", choice: Tensor) -> Decoder:
    """Return the decoder in which each latent has one expert, j of (B, h, w)."""

    def decode(inputs: Tensor, of_latents: Tensor) -> Tensor:
        if len(net.experts) == 1:
            return call(net.experts[0], inputs)
        j_of_query = nearest(choice[:, None], of_latents)[..., 0]  # (B, Q)
        answers = of_latents.new_empty(*inputs.shape[:-1], 3)
        for j, expert in enumerate(net.experts):
            answers[j_of_query == j] = call(expert, inputs[j_of_query == j]).to(answers)
        return answers

    return decode


def _neighbours(coord: Tensor, latent_size: Sequence[int], *, ensemble: bool) -> Iterator[Tensor]:
    """Yield where a query's neighbours are looked up: half a latent up or down and left or right of it."""
    steps, epsilon = ((-1, 1), 1e-6) if ensemble else ((0,), 0)
    for step_y in steps:
        for step_x in steps:
            shift = coord.new_tensor([step_y / latent_size[0], step_x / latent_size[1]]) + epsilon
            yield (coord + shift).clamp(-1 + 1e-6, 1 - 1e-6)


def _centres(size: Sequence[int], like: Tensor) -> Tensor:
    """Return the coordinates of a picture's pixels as a picture, (2, height, width), y first."""
    axes = [-1 + 1 / n + 2 / n * torch.arange(n, dtype=like.dtype, device=like.device) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))
