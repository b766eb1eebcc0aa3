"""Rendering by the experts' own forward, for networks that the fast path does not serve."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from moeisr_plugin.archs import reference
from moeisr_plugin.archs.embeddings import LTEEmbedding
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.rows import gather_rows

# From an expert j, LR pixels (N,), and the rows (N, P) and columns (N, R) of queries around each, relative to
# it, to the expert's colours in [-1, 1], (N, P, R, 3).
ExpertOnGrid = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def unfolded_experts(net: ImplicitSR, padded: Tensor, rel_cell: Tensor) -> ExpertOnGrid:
    """Return the experts on the input that `archs.reference` writes for a query.

    Args:
        net: the network.
        padded: rows of the latent and the rim around them, (1, D, h + 2 * radius, w + 2 * radius).
        rel_cell: the cell in latents, (1, 2).
    """
    rim = net.embedding.radius
    height, width = (n - 2 * rim for n in padded.shape[2:])
    maps = [
        each[0, :, rim : rim + height, rim : rim + width]
        for each in reference.feature_maps(net.embedding, padded)
    ]  # (C, h, w) each
    tables = [each.flatten(1).t().contiguous() for each in maps]  # (h*w, C) each

    def evaluate(j: int, pixels: Tensor, rel_y: Tensor, rel_x: Tensor) -> Tensor:
        rel = torch.stack(torch.broadcast_tensors(rel_y[:, :, None], rel_x[:, None]), dim=-1)  # (N, P, R, 2)
        found = [gather_rows(table, pixels)[:, None, None] for table in tables]  # (N, 1, 1, C) each
        inputs = reference.expert_input(net.embedding, found, rel, rel_cell)  # (N, P, R, C)
        return reference.call(net.experts[j], inputs.flatten(0, 2)).view(*rel.shape[:-1], 3)

    return evaluate


def macs_per_lr_pixel(net: ImplicitSR, expert: int, pixel_grid: tuple[int, int]) -> int:
    """Return the MACs of an LR pixel and the queries around it, by the widths and depths of the network.

    Args:
        net: the network.
        expert: the one that the LR pixel is routed to.
        pixel_grid: rows and columns of the queries around it.
    """
    embedding, of_maps = net.embedding, 0
    if isinstance(embedding, LTEEmbedding):
        channels = net.encoder.latent_channels
        assert isinstance(channels, int)
        of_maps = 2 * 9 * channels * embedding.in_features
    return of_maps + net.expert_list[expert].macs() * math.prod(pixel_grid)
