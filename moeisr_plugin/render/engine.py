"""Decode a whole output grid: each LR pixel paints its own surroundings, by its own expert.

On a regular grid the queries that are decoded from an LR pixel form a small grid around it. So nothing is
looked up per query: what is known of the pixel is spread over its grid by adding a row's and a column's part.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.coordinates import ensemble_weights
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.render.grid import GridAxis, Surroundings, grid_axis, surroundings

# Queries whose answers are held at a time, which bounds memory whatever the picture's size.
_BAND_QUERIES = 2_097_152
# Queries decoded at a time. Their hidden states should fit a processor's cache; a GPU wants more.
_BLOCK_QUERIES = {"cpu": 4_096, "cuda": 1_048_576}


def encode(net: ImplicitSR, lr: Tensor) -> Encoding:
    """The encoding of an LR picture in [0, 1], (B, 3, h, w)."""
    with torch.inference_mode():
        return net.encode(lr)


def render(
    net: ImplicitSR,
    encoding: Encoding,
    size: tuple[int, int],
    *,
    on_rows: Callable[[int], object] | None = None,
) -> Tensor:
    """Decode an output grid, each LR pixel's surroundings by the expert chosen for it.

    Args:
        net: the network; its mode of training does not matter.
        encoding: of B pictures.
        size: (H, W) of the output; any size, each axis with its own scale.
        on_rows: told how many more rows of a picture are done, B * H in all.

    Returns:
        (B, 3, H, W), nominally in [0, 1], not clamped; float32 where the latent is of lower precision.

    Raises:
        ValueError: if the output has no pixels.
    """
    height, width = size
    if min(size) < 1:
        raise ValueError(f"an output of {height}x{width} has no pixels")
    latent = encoding.latent
    latent_height, latent_width = latent.shape[2:]
    precise = torch.promote_types(latent.dtype, torch.float32)  # bfloat16 cannot tell coordinates apart
    rows, columns = (
        grid_axis(n, n_latent, local_ensemble=net.local_ensemble, dtype=precise, device=latent.device)
        for n, n_latent in ((height, latent_height), (width, latent_width))
    )
    rel_cell = latent.new_tensor([net.embedding.rel_cell(size, (latent_height, latent_width))])  # (1, 2)
    band = max(1, _BAND_QUERIES // (len(rows.index) * len(columns.index) * width))
    output = latent.new_empty(latent.shape[0], 3, height, width, dtype=precise)
    with torch.inference_mode():
        padded = net.pad(latent)
        choice = routing.choose_expert(encoding.scores)
        around_columns = surroundings(columns, latent_width)
        for sample in range(latent.shape[0]):
            one = slice(sample, sample + 1)
            for start in range(0, height, band):
                part = rows.part(start, min(start + band, height))
                output[sample, :, start : start + band] = _render_band(
                    net, encoding.lr[one], padded[one], choice[one], rel_cell, part, columns, around_columns
                )
                if on_rows:
                    on_rows(len(part.coord))
    return output


def _render_band(
    net: ImplicitSR,
    lr: Tensor,
    padded: Tensor,
    choice: Tensor,
    rel_cell: Tensor,
    rows: GridAxis,
    columns: GridAxis,
    around_columns: Surroundings,
) -> Tensor:
    """The pixels where N rows and W columns of the output cross, (3, N, W)."""
    first, last = int(rows.index.min()), int(rows.index.max())
    rows = rows._replace(index=rows.index - first)
    choice = choice[:, first : last + 1]
    padded = padded[:, :, first : last + 1 + 2 * net.embedding.radius]
    around_rows = surroundings(rows, choice.shape[1])
    rel_y, rel_x = around_rows.rel.to(padded), around_columns.rel.to(padded)
    answers = _paint_surroundings(net, padded, choice, rel_cell, rel_y, rel_x)

    # Where the answers (h, w, P, R) for an output pixel lie: a row's part plus a column's.
    _, latent_width, per_pixel_rows, per_pixel_columns, _ = answers.shape
    row_place = rows.index * latent_width * per_pixel_rows + around_rows.slot  # (Vy, N)
    column_place = columns.index * per_pixel_rows * per_pixel_columns + around_columns.slot  # (Vx, W)
    place = (row_place * per_pixel_columns)[:, None, :, None] + column_place[None, :, None]  # (Vy, Vx, N, W)
    found = answers.view(-1, 3)[place.flatten()]  # (V*N*W, 3)

    rel_y = rows.rel[:, None, :, None].expand(place.shape).flatten(0, 1)  # (V, N, W)
    rel_x = columns.rel[None, :, None].expand(place.shape).flatten(0, 1)
    weight = ensemble_weights(rel_y, rel_x).flatten(1)[:, None]  # (V, 1, N*W)
    coord = torch.stack(torch.meshgrid(rows.coord, columns.coord, indexing="ij"), dim=-1)  # (N, W, 2)
    painted = net.paint(lr, coord.flatten(0, 1)[None], found, weight)  # (1, N*W, 3)
    return painted[0].t().unflatten(1, place.shape[2:])  # (3, N, W)


def _paint_surroundings(
    net: ImplicitSR, padded: Tensor, choice: Tensor, rel_cell: Tensor, rel_y: Tensor, rel_x: Tensor
) -> Tensor:
    """The answers of each LR pixel for the output pixels around it.

    Args:
        net: the network.
        padded: latent (1, D, h + 2 * radius, w + 2 * radius).
        choice: (1, h, w), the expert of each LR pixel.
        rel_cell: (1, 2).
        rel_y: (h, P), the rows around each row of latents.
        rel_x: (w, R), the columns around each column of latents.

    Returns:
        RGB in [-1, 1], (h, w, P, R, 3).
    """
    experts = net.expert_list
    ground = net.embedding.ground(padded, rel_cell, [expert.first for expert in experts], choice)
    width, per_pixel = len(rel_x), (rel_y.shape[1], rel_x.shape[1])
    block = max(1, _BLOCK_QUERIES.get(padded.device.type, _BLOCK_QUERIES["cpu"]) // math.prod(per_pixel))
    answers = padded.new_empty(choice.numel(), *per_pixel, 3)
    for j, expert in enumerate(experts):
        for pixels in (choice.flatten() == j).nonzero()[:, 0].split(block):
            hidden = ground.first_layer_around(j, pixels, rel_y[pixels // width], rel_x[pixels % width])
            answers[pixels] = expert.finish(hidden)
    return answers.unflatten(0, (-1, width))
