"""What each LR pixel answers for the output pixels around it, by its own expert.

On a regular grid the queries that are decoded from an LR pixel form a small grid around it. So nothing is
looked up per query: what is known of the pixel is spread over its grid by adding a row's and a column's part.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.workspace import Workspace
from moeisr_plugin.render import triton_backend
from moeisr_plugin.render.convolutions import WinogradConvolutions
from moeisr_plugin.render.triton_backend import GridDecoder

# Bytes of hidden states computed at a time, on a processor by each thread. They should fit its cache, but too
# few are not worth sharing among threads; a GPU wants more.
_BLOCK_BYTES = {"cpu": 2**20, "cuda": 2**28}


def grid_decoder(net: ImplicitSR, latent: Tensor, rel_cell: Tensor) -> GridDecoder:
    """What gives the answers of LR pixels for the output pixels around them, each by its own expert.

    Args:
        net: the network.
        latent: (1, D, h, w), whose rows are painted in any portions.
        rel_cell: (1, 2).

    Returns:
        From some rows of the latent, padded, (1, D, h' + 2 * radius, w + 2 * radius), of their h'*w pixels
        those of each of the J experts, J of (N_j,), the rows around each row of latents, (h', P), and the
        columns around each column, (w, R), to RGB in [-1, 1], (h', w, P, R, 3), of the relative coordinates'
        precision.
    """
    if triton_backend.can_decode(net, latent):
        return triton_backend.grid_decoder(net, latent, rel_cell)
    return partial(_paint_surroundings, net, rel_cell)


def _paint_surroundings(
    net: ImplicitSR,
    rel_cell: Tensor,
    padded: Tensor,
    groups: Sequence[Tensor],
    rel_y: Tensor,
    rel_x: Tensor,
) -> Tensor:
    width, per_pixel = len(rel_x), (rel_y.shape[1], rel_x.shape[1])
    experts, channels = net.expert_list, net.expert_list[0].first.out_features
    with WinogradConvolutions():
        terms = net.embedding.precompute(padded, rel_cell, [expert.first for expert in experts], groups)
    block, block_rows = _block_of(padded, per_pixel, channels)
    workspace = Workspace()
    answers = rel_y.new_empty(len(rel_y) * width, *per_pixel, 3)
    for rows, painted in zip(rel_y.split(block_rows, 1), answers.split(block_rows, 1), strict=True):
        for j, pixels in enumerate(groups):
            row, column = rows[pixels // width], rel_x[pixels % width]  # (N, P), (N, R)
            for part in zip(*(t.split(block) for t in (pixels, row, column)), strict=True):
                hidden = terms.first_layer_on_grid(j, *part, workspace=workspace)
                painted[part[0]] = experts[j].finish(hidden).to(answers)  # (N, P, R, 3)
    return answers.view(-1, width, *per_pixel, 3)


def _block_of(like: Tensor, per_pixel: tuple[int, int], channels: int) -> tuple[int, int]:
    """How many LR pixels are painted at a time, and how many of the rows of output pixels around them.

    Around a single LR pixel there can be a whole picture, which is cut into rows.
    """
    rows, columns = per_pixel
    shares = torch.get_num_threads() if like.device.type == "cpu" else 1
    limit = limit_for(_BLOCK_BYTES, like) * shares // (columns * channels * like.element_size())  # in rows
    return max(1, limit // rows), min(max(1, limit), rows)
