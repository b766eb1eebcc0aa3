"""The networks as their publications write them, for any query, with nothing folded or grouped.

Each layer runs through its own forward, so that hooks, wrappers, parametrisations and quantised layers act.
The rest of the package computes the same faster: tests and benchmarks compare it with this module, and
`fast_path` says which networks this module evaluates. Equations without a name are those of MoEISR.
`ImplicitSR.encode` gives z = E(I_LR) (Eq. 1) and D = M(z) (Eq. 3). With one expert, Eq. 4 is Eq. 2.

Shapes: B pictures, Q queries, J experts, C channels, h x w LR pixels. `coord` (B, Q, 2) holds coordinates
(y, x) in [-1, 1]², `cell` (B, 2) the size (2/H, 2/W) of an output pixel. Colours (B, Q, 3) are RGB, nominally
in [0, 1], not clamped.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs.embeddings import Embedding, LIIFEmbedding, LTEEmbedding
from moeisr_plugin.ops.precision import at_least_float32, float32_or_better, without_autocast

if TYPE_CHECKING:
    from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR

CHUNK = 30_000  # `eval_bsize` of the published configurations of LIIF and LTE

# From the input of an expert (B, Q, C) and coordinates near latents (B, Q, 2) to colours in [-1, 1].
Decoder = Callable[[Tensor, Tensor], Tensor]


def soft_mixture(
    net: "ImplicitSR", encoding: "Encoding", coord: Tensor, cell: Tensor, gates: Tensor
) -> Tensor:
    """Return s_q = Σ_j g(D_k)_j f_j(z_k, x_q - x_k), Eq. 5, from the gates g(D), (B, J, h, w)."""

    def decode(inputs: Tensor, at_latents: Tensor) -> Tensor:
        answers = torch.stack([call(expert, inputs) for expert in net.experts], dim=-1)  # (B, Q, 3, J)
        return (answers * nearest(gates, at_latents)[..., None, :]).sum(-1)  # by (B, Q, 1, J)

    return local_ensemble(net, encoding, feature_maps(net.embedding, encoding.latent), coord, cell, decode)


def hard_choice(
    net: "ImplicitSR", encoding: "Encoding", coord: Tensor, cell: Tensor, choice: Tensor | None = None
) -> Tensor:
    """Return s_q = f_j(z_k, x_q - x_k), Eq. 4; `choice` (B, h, w) holds j, by default arg max_j D_kj."""
    decode = _chosen(net, encoding.scores.argmax(1) if choice is None else choice)
    return local_ensemble(net, encoding, feature_maps(net.embedding, encoding.latent), coord, cell, decode)


@torch.no_grad()
def render(net: "ImplicitSR", encoding: "Encoding", size: tuple[int, int], *, chunk: int = CHUNK) -> Tensor:
    """Return pictures (B, 3, H, W) of the given (H, W) by Eq. 4, `chunk` queries at a time."""
    height, width = encoding.latent.shape[2:]
    like = encoding.latent.to(float32_or_better(encoding.latent))
    coord = _centres(size, like).flatten(1).mT.expand(len(like), -1, -1)  # (B, H*W, 2)
    cell = like.new_tensor(net.embedding.rel_cell(size, (height, width))) / like.new_tensor([height, width])
    cell, maps = cell.expand(len(like), 2), feature_maps(net.embedding, encoding.latent)
    decode = _chosen(net, encoding.scores.argmax(1))
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
    """Return base + ½ Σ_t (S_t / S) f(z_t, x_q - x_t) (LIIF, Eq. 4); S_t is the area opposite to neighbour t.

    The base is mid-grey in LIIF, and the bilinearly enlarged LR picture in LTE.
    """
    latent_size = encoding.latent.shape[2:]
    centres = _centres(latent_size, coord).expand(len(coord), -1, -1, -1)  # (B, 2, h, w)
    in_latents = coord.new_tensor(latent_size)  # (2,)
    rel_cell = (cell * in_latents)[:, None].expand(coord.shape)  # (B, Q, 2)
    answers, areas = [], []
    for at_latents in _neighbours(coord, latent_size, ensemble=net.local_ensemble):
        rel = (coord - nearest(centres, at_latents)) * in_latents  # (B, Q, 2), x_q - x_t
        found = [nearest(each, at_latents) for each in maps]  # (B, Q, C) each
        answers.append(decode(expert_input(net.embedding, found, rel, rel_cell), at_latents))
        areas.append(rel.prod(-1).abs() + 1e-9)
    weights = torch.stack(areas[::-1]) / torch.stack(areas).sum(0)  # (T, B, Q), S_t / S
    blended = (torch.stack(answers) * weights[..., None]).sum(0)  # (B, Q, 3)
    return net.base(encoding.lr, coord) + 0.5 * blended


def feature_maps(embedding: Embedding, latent: Tensor) -> list[Tensor]:
    """Return the maps (B, C, h, w) that queries read, from the latent: 3x3 patches, or amplitudes and F."""
    if isinstance(embedding, LIIFEmbedding):
        unfolded = F.unfold(latent, 2 * embedding.radius + 1, padding=embedding.radius)  # (B, C*9, h*w)
        return [unfolded.unflatten(2, latent.shape[2:])]
    if isinstance(embedding, LTEEmbedding):
        with without_autocast(latent):
            frequencies = call(embedding.freq, at_least_float32(latent))
        return [call(embedding.coef, latent), frequencies]
    raise TypeError(
        f"archs.reference has no equations for {type(embedding).__name__}; "
        "add them, or use experts without wrapped layers and hooks"
    )


def expert_input(embedding: Embedding, found: Sequence[Tensor], rel: Tensor, rel_cell: Tensor) -> Tensor:
    """Return [z; x_q - x_k; cell] of LIIF, or A ⊙ [cos π(F·(x_q - x_k) + P); sin π(...)] of LTE, (..., C).

    `found` holds the feature maps at the latent, (..., C) each; `rel` and `rel_cell` are in latents.
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
    """Return the pixels (B, Q, C) of a picture (B, C, h, w) nearest to coordinates (B, Q, 2)."""
    grid = coord.flip(-1)[:, None]  # (B, 1, Q, 2), x first
    return F.grid_sample(picture.to(grid), grid, mode="nearest", align_corners=False)[:, :, 0].mT


def call(module: nn.Module, x: Tensor) -> Tensor:
    """Call a module on x in the type of its parameters; in float32 or better if none is floating-point."""
    types = (parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())
    return module(x.to(next(types, float32_or_better(x))))


def _chosen(net: "ImplicitSR", choice: Tensor) -> Decoder:
    """Return the decoder that evaluates one expert per latent, j of (B, h, w)."""

    def decode(inputs: Tensor, at_latents: Tensor) -> Tensor:
        if len(net.experts) == 1:
            return call(net.experts[0], inputs)
        j_of_query = nearest(choice[:, None], at_latents)[..., 0]  # (B, Q)
        answers = at_latents.new_empty(*inputs.shape[:-1], 3)
        for j, expert in enumerate(net.experts):
            answers[j_of_query == j] = call(expert, inputs[j_of_query == j]).to(answers)
        return answers

    return decode


def _neighbours(coord: Tensor, latent_size: Sequence[int], *, ensemble: bool) -> Iterator[Tensor]:
    """Yield coordinates (B, Q, 2) half a latent up or down and left or right; without ensemble, `coord`."""
    steps, epsilon = ((-1, 1), 1e-6) if ensemble else ((0,), 0)
    for y, x in product(steps, repeat=2):
        shift = coord.new_tensor([y / latent_size[0], x / latent_size[1]]) + epsilon
        yield (coord + shift).clamp(-1 + 1e-6, 1 - 1e-6)


def _centres(size: Sequence[int], like: Tensor) -> Tensor:
    """Return the coordinates of the pixels of a picture, (2, height, width), y first."""
    axes = [-1 + 1 / n + 2 / n * torch.arange(n, dtype=like.dtype, device=like.device) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))
