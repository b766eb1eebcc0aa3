"""LIIF, LTE and MoEISR decoded as their publications describe it: what this package's speed is measured by.

Every query looks up its neighbours' embeddings in full and runs them through all layers of an expert,
30,000 queries at a time. Nothing is folded, and nothing of the package's decoding is used but a network's
parameters, so that weights are the same.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.archs.embeddings import LIIFEmbedding, LTEEmbedding
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR

# Queries decoded at a time in the published configurations of LIIF and LTE (`eval_bsize`).
CHUNK = 30_000

# From a neighbour's inputs (B, Q, C) and the coordinates it was looked up at (B, Q, 2) to answers (B, Q, 3).
Answer = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def encode(net: ImplicitSR, lr: Tensor) -> Encoding:
    """The encoding of an LR picture in [0, 1], (B, 3, h, w), in one piece."""
    return net.encode(lr)


@torch.no_grad()
def render(net: ImplicitSR, encoding: Encoding, size: tuple[int, int], *, chunk: int = CHUNK) -> Tensor:
    """Decode an output grid, each neighbour by its own expert (paper, Eq. 4).

    Args:
        net: the network.
        encoding: of B pictures.
        size: (H, W) of the output.
        chunk: queries decoded at a time.

    Returns:
        (B, 3, H, W), nominally in [0, 1], not clamped.
    """
    batch, _, *latent_size = encoding.latent.shape
    maps = feature_maps(net, encoding.latent)
    choice = encoding.scores.argmax(1, keepdim=True).to(encoding.lr)  # (B, 1, h, w), sampled as pictures are
    coord = _centres(size, encoding.lr).flatten(1).mT.expand(batch, -1, -1)  # (B, H*W, 2)
    cell = coord.new_tensor(_told_cell(net, size, latent_size)).expand(batch, 2)

    def answer(inputs: Tensor, shifted: Tensor) -> Tensor:
        return _chosen_answers(net, inputs, _nearest(choice, shifted)[..., 0])

    answers = [_decode(net, encoding, maps, part, cell, answer) for part in coord.split(chunk, dim=1)]
    return torch.cat(answers, dim=1).mT.unflatten(2, size)  # (B, 3, H, W)


def mix(net: ImplicitSR, encoding: Encoding, coord: Tensor, cell: Tensor, gates: Tensor) -> Tensor:
    """The soft mixture of training: every expert answers for every neighbour (paper, Eq. 5).

    Args:
        net: the network.
        encoding: of B pictures.
        coord: (B, Q, 2) in [-1, 1], y first.
        cell: (B, 2), size of an output pixel, (2/H, 2/W).
        gates: weights of the experts, (B, J, h, w).

    Returns:
        RGB in [0, 1], (B, Q, 3).
    """

    def answer(inputs: Tensor, shifted: Tensor) -> Tensor:
        answers = torch.stack([expert(inputs) for expert in net.experts], dim=-1)  # (B, Q, 3, J)
        return (answers * _nearest(gates, shifted)[..., None, :]).sum(-1)

    return _decode(net, encoding, feature_maps(net, encoding.latent), coord, cell, answer)


def feature_maps(net: ImplicitSR, latent: Tensor) -> list[Tensor]:
    """What queries look up, (B, C, h, w) each: LIIF's unfolded latent; LTE's amplitudes and frequencies."""
    embedding = net.embedding
    if isinstance(embedding, LTEEmbedding):
        return [embedding.coef(latent), embedding.freq(latent)]
    side = 2 * embedding.radius + 1
    return [F.unfold(latent, side, padding=embedding.radius).unflatten(2, latent.shape[2:])]


def _decode(
    net: ImplicitSR, encoding: Encoding, maps: list[Tensor], coord: Tensor, cell: Tensor, answer: Answer
) -> Tensor:
    """Colours (B, Q, 3) at coordinates (B, Q, 2): answers of all neighbours, weighted by area."""
    latent_size = encoding.latent.shape[2:]
    centres = _centres(latent_size, coord).expand(len(coord), -1, -1, -1)
    in_latents = coord.new_tensor(latent_size)
    rel_cell = (cell * in_latents)[:, None].expand(coord.shape)  # (B, Q, 2)
    answers, areas = [], []
    for shifted in _shifts(coord, latent_size, local_ensemble=net.local_ensemble):
        rel = (coord - _nearest(centres, shifted)) * in_latents
        inputs = _inputs(net, [_nearest(each, shifted) for each in maps], rel, rel_cell)
        answers.append(answer(inputs, shifted))
        areas.append((rel[..., 0] * rel[..., 1]).abs() + 1e-9)
    # Backwards, each neighbour's area is that of the one diagonally opposite.
    weights = torch.stack(areas[::-1]) / torch.stack(areas).sum(0)  # (V, B, Q)
    blended = sum(each * weight[..., None] for each, weight in zip(answers, weights, strict=True))
    return net.base(encoding.lr, coord) + 0.5 * blended


def _inputs(net: ImplicitSR, found: list[Tensor], rel: Tensor, rel_cell: Tensor) -> Tensor:
    """What the experts read of a query and one neighbour, (B, Q, C)."""
    embedding = net.embedding
    if isinstance(embedding, LIIFEmbedding):
        return torch.cat([*found, rel, rel_cell[..., : embedding.cell_columns]], dim=-1)
    assert isinstance(embedding, LTEEmbedding)
    coef, freq = found
    angle = (freq.unflatten(-1, (-1, 2)) * rel[..., None, :]).sum(-1) + embedding.phase(rel_cell)
    return coef * torch.cat([(math.pi * angle).cos(), (math.pi * angle).sin()], dim=-1)


def _chosen_answers(net: ImplicitSR, inputs: Tensor, choice: Tensor) -> Tensor:
    """Each query's answer by the expert of its neighbour, (B, Q, 3), from inputs (B, Q, C), choice (B, Q)."""
    if len(net.experts) == 1:
        return net.experts[0](inputs)
    answers = inputs.new_empty(*choice.shape, 3)
    for j, expert in enumerate(net.experts):
        chosen = choice == j
        answers[chosen] = expert(inputs[chosen]).to(answers)
    return answers


def _shifts(coord: Tensor, latent_size: Sequence[int], *, local_ensemble: bool) -> Iterator[Tensor]:
    """Where each neighbour of a query is looked up: half a latent up or down, and left or right of it."""
    step, epsilon = (1, 1e-6) if local_ensemble else (0, 0)
    for sign_y in (-step, step) if local_ensemble else (0,):
        for sign_x in (-step, step) if local_ensemble else (0,):
            shift = coord.new_tensor([sign_y / latent_size[0], sign_x / latent_size[1]]) + epsilon
            yield (coord + shift).clamp(-1 + 1e-6, 1 - 1e-6)


def _nearest(picture: Tensor, coord: Tensor) -> Tensor:
    """A picture (B, C, h, w) at the pixels nearest to coordinates (B, Q, 2), as (B, Q, C)."""
    grid = coord.flip(-1)[:, None]  # (B, 1, Q, 2), x first
    return F.grid_sample(picture, grid, mode="nearest", align_corners=False)[:, :, 0].mT


def _centres(size: Sequence[int], like: Tensor) -> Tensor:
    """The coordinates of a picture's pixels as a picture, (2, height, width), y first."""
    axes = [-1 + 1 / n + 2 / n * torch.arange(n, dtype=like.dtype, device=like.device) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _told_cell(net: ImplicitSR, size: tuple[int, int], latent_size: Sequence[int]) -> list[float]:
    """The cell that the experts are told, (2/H, 2/W); LTE is never told one smaller than in training."""
    cell = [2 / n for n in size]
    if not isinstance(net.embedding, LTEEmbedding):
        return cell
    scales = [n / n_latent for n, n_latent in zip(size, latent_size, strict=True)]
    return [
        each * max(scale / net.embedding.max_trained_scale, 1)
        for each, scale in zip(cell, scales, strict=True)
    ]
