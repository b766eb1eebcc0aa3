"""Evaluate the experts on the small grid of output pixels around each LR pixel.

On a regular output grid, the queries that are decoded from an LR pixel form a grid around it. So the first
layer needs no lookup per query. The terms of the LR pixel are combined with a row and a column part.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from moeisr_plugin.archs import fast_path
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.workspace import Workspace
from moeisr_plugin.render import triton_backend
from moeisr_plugin.render.convolutions import WinogradConvolutions
from moeisr_plugin.render.int8_network import int8_in_use
from moeisr_plugin.render.triton_backend import GridDecoder
from moeisr_plugin.render.unfolded import ExpertOnGrid, unfolded_experts

# Bytes of hidden states per step, on a CPU per thread. They should fit in its cache, but smaller steps waste
# time on starting threads. A GPU needs larger steps.
_BLOCK_BYTES = {"cpu": 2**22, "cuda": 2**28}


def grid_decoder(net: ImplicitSR, latent: Tensor, rel_cell: Tensor) -> GridDecoder:
    """Return a function that decodes rows of LR pixels, each by the expert it is routed to.

    Args:
        net: the network.
        latent: (1, D, h, w), the latent whose rows are decoded later, in any number of parts.
        rel_cell: (1, 2), the cell relative to a latent.

    Returns:
        A function with four arguments. It decodes h' rows of the latent to RGB, nominally in [-1, 1],
        (h', w, P, R, 3), in the type of the coordinates. Its arguments are:

        - the rows of the latent, padded, (1, D, h' + 2 * radius, w + 2 * radius);
        - J tensors (N_j,), the LR pixels in [0, h'*w) that are routed to each expert;
        - (h', P), y of the P output rows relative to each LR row;
        - (w, R), x of the R output columns relative to each LR column.
    """
    if fast_path.serves(net) and triton_backend.can_decode(net, latent):
        return triton_backend.grid_decoder(net, latent, rel_cell)
    return partial(_decode, net, rel_cell)


def _decode(
    net: ImplicitSR,
    rel_cell: Tensor,
    padded: Tensor,
    groups: Sequence[Tensor],
    rel_y: Tensor,
    rel_x: Tensor,
) -> Tensor:
    width, per_pixel = len(rel_x), (rel_y.shape[1], rel_x.shape[1])
    element_size = padded.element_size()
    parts = int8_in_use(net)
    if parts and parts.experts and fast_path.serves(net) and parts.experts.cover(padded):
        channels, element_size = parts.experts.width, 1
        evaluate = parts.experts.evaluate(padded, rel_cell, groups, rel_x)
    elif fast_path.serves(net):
        channels = net.expert_list[0].first.out_features
        evaluate = _folded_experts(net, padded, rel_cell, groups)
    else:
        channels = net.embedding.in_features
        evaluate = unfolded_experts(net, padded, rel_cell)
    block, block_rows = _block_size(padded, per_pixel, channels * element_size)
    colours = rel_y.new_empty(len(rel_y) * width, *per_pixel, 3)  # (h'*w, P, R, 3)
    for rows, decoded in zip(rel_y.split(block_rows, 1), colours.split(block_rows, 1), strict=True):
        for j, pixels in enumerate(groups):
            if len(pixels) == 0:
                continue
            row, column = rows[pixels // width], rel_x[pixels % width]  # (N, P), (N, R)
            for part in zip(*(t.split(block) for t in (pixels, row, column)), strict=True):
                decoded.index_copy_(0, part[0], evaluate(j, *part).to(colours))  # (N, P, R, 3)
    return colours.view(-1, width, *per_pixel, 3)  # (h', w, P, R, 3)


def _folded_experts(
    net: ImplicitSR, padded: Tensor, rel_cell: Tensor, groups: Sequence[Tensor]
) -> ExpertOnGrid:
    """Return the same function as `unfolded_experts`, with the first layers folded."""
    experts, workspace = net.expert_list, Workspace()
    with WinogradConvolutions():
        terms = net.embedding.precompute(padded, rel_cell, [expert.first for expert in experts], groups)

    def evaluate(j: int, pixels: Tensor, rel_y: Tensor, rel_x: Tensor) -> Tensor:
        hidden = terms.first_layer_on_grid(j, pixels, rel_y, rel_x, workspace=workspace)  # (N, P, R, C)
        return experts[j].finish(hidden)

    return evaluate


def _block_size(like: Tensor, per_pixel: tuple[int, int], query_bytes: int) -> tuple[int, int]:
    """Return the number of LR pixels per step, and the number of grid rows around each of them.

    The grid of a single LR pixel can be a whole image, so it is also split into rows.
    """
    rows, columns = per_pixel
    threads = torch.get_num_threads() if like.device.type == "cpu" else 1
    row_bytes = columns * query_bytes
    limit = limit_for(_BLOCK_BYTES, like) * threads // row_bytes  # in rows
    return max(1, limit // rows), min(max(1, limit), rows)
