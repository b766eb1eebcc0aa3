"""What each LR pixel answers for the output pixels around it, by its own expert.

On a regular grid the queries that are decoded from an LR pixel form a small grid around it. So nothing is
looked up per query: what is known of the pixel is spread over its grid by adding a row's and a column's part.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from moeisr_plugin.archs import fast_path
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.workspace import Workspace
from moeisr_plugin.render import fused
from moeisr_plugin.render.convolutions import WinogradConvolutions
from moeisr_plugin.render.fused import Painter
from moeisr_plugin.render.unfolded import Answer, unfolded_answers

# Bytes of hidden states computed at a time, on a processor by each thread. They should fit its cache, but too
# few are not worth sharing among threads; a GPU wants more.
_BLOCK_BYTES = {"cpu": 2**20, "cuda": 2**28}


def painter(net: ImplicitSR, latent: Tensor, rel_cell: Tensor) -> Painter:
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
    if fast_path.serves(net) and fused.paints(net, latent):
        return fused.painter(net, latent, rel_cell)
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
    if fast_path.serves(net):
        channels, answer = (
            net.expert_list[0].first.out_features,
            _folded_answers(net, padded, rel_cell, groups),
        )
    else:
        channels, answer = net.embedding.in_features, unfolded_answers(net, padded, rel_cell)
    block, block_rows = _block_of(padded, per_pixel, channels)
    answers = rel_y.new_empty(len(rel_y) * width, *per_pixel, 3)
    for rows, painted in zip(rel_y.split(block_rows, 1), answers.split(block_rows, 1), strict=True):
        for j, pixels in enumerate(groups):
            row, column = rows[pixels // width], rel_x[pixels % width]  # (N, P), (N, R)
            for part in zip(*(t.split(block) for t in (pixels, row, column)), strict=True):
                painted[part[0]] = answer(j, *part).to(answers)  # (N, P, R, 3)
    return answers.view(-1, width, *per_pixel, 3)


def _folded_answers(net: ImplicitSR, padded: Tensor, rel_cell: Tensor, groups: Sequence[Tensor]) -> Answer:
    """Return the same as `unfolded_answers`, with the first layers folded."""
    experts, workspace = net.expert_list, Workspace()
    with WinogradConvolutions():
        ground = net.embedding.ground(padded, rel_cell, [expert.first for expert in experts], groups)

    def answer(j: int, pixels: Tensor, rel_y: Tensor, rel_x: Tensor) -> Tensor:
        return experts[j].finish(ground.first_layer_around(j, pixels, rel_y, rel_x, workspace=workspace))

    return answer


def _block_of(like: Tensor, per_pixel: tuple[int, int], channels: int) -> tuple[int, int]:
    """How many LR pixels are painted at a time, and how many of the rows of output pixels around them.

    Around a single LR pixel there can be a whole picture, which is cut into rows.
    """
    rows, columns = per_pixel
    shares = torch.get_num_threads() if like.device.type == "cpu" else 1
    limit = limit_for(_BLOCK_BYTES, like) * shares // (columns * channels * like.element_size())  # in rows
    return max(1, limit // rows), min(max(1, limit), rows)
