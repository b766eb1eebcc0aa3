"""Decode a whole output grid, in bands of rows so that memory does not grow with the picture."""

from collections.abc import Callable

import torch
from torch import Tensor

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.coordinates import ensemble_weights
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.render.grid import GridAxis, grid_axis

# Queries decoded at a time. Their hidden states should fit a processor's cache; a GPU wants more.
_BAND_QUERIES = {"cpu": 32_768, "cuda": 4_194_304}


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
        (B, 3, H, W), nominally in [0, 1], not clamped.
    """
    height, width = size
    latent = encoding.latent
    latent_height, latent_width = latent.shape[2:]
    axes = [
        grid_axis(n, n_latent, local_ensemble=net.local_ensemble, dtype=latent.dtype, device=latent.device)
        for n, n_latent in ((height, latent_height), (width, latent_width))
    ]
    rel_cell = latent.new_tensor([net.embedding.rel_cell(size, (latent_height, latent_width))])  # (1, 2)
    neighbours_per_query = len(axes[0].index) * len(axes[1].index)
    queries = _BAND_QUERIES.get(latent.device.type, _BAND_QUERIES["cpu"])
    band = max(1, queries // (neighbours_per_query * width))
    output = latent.new_empty(latent.shape[0], 3, height, width)
    with torch.inference_mode():
        padded = net.pad(latent)
        choice = routing.choose_expert(encoding.scores)
        for sample in range(latent.shape[0]):
            one = slice(sample, sample + 1)
            for start in range(0, height, band):
                rows = axes[0].part(start, min(start + band, height))
                output[sample, :, start : start + band] = _render_band(
                    net, encoding.lr[one], padded[one], choice[one], rel_cell, rows, axes[1]
                )
                if on_rows:
                    on_rows(len(rows.coord))
    return output


def _render_band(
    net: ImplicitSR,
    lr: Tensor,
    padded: Tensor,
    choice: Tensor,
    rel_cell: Tensor,
    rows: GridAxis,
    columns: GridAxis,
) -> Tensor:
    """The pixels where R rows and W columns of the output cross, (3, R, W)."""
    first, last = int(rows.index.min()), int(rows.index.max())
    choice = choice[:, first : last + 1]
    padded = padded[:, :, first : last + 1 + 2 * net.embedding.radius]
    experts = net.expert_list
    ground = net.embedding.ground(padded, rel_cell, [expert.first for expert in experts], choice)

    crossing = (len(rows.index), len(columns.index), len(rows.coord), len(columns.coord))  # (Vy, Vx, R, W)
    index = (rows.index[:, None, :, None] - first) * choice.shape[2] + columns.index[None, :, None]
    rel_y = rows.rel[:, None, :, None].expand(crossing)
    rel_x = columns.rel[None, :, None].expand(crossing)
    rel = torch.stack([rel_y, rel_x], dim=-1).flatten(0, 3)  # (V*R*W, 2)
    answers = routing.dispatch_experts(experts, ground, choice, index.flatten(), rel)

    weight = ensemble_weights(rel_y.flatten(0, 1), rel_x.flatten(0, 1)).flatten(1)[:, None]  # (V, 1, R*W)
    coord = torch.stack(torch.meshgrid(rows.coord, columns.coord, indexing="ij"), dim=-1)  # (R, W, 2)
    painted = net.paint(lr, coord.flatten(0, 1)[None], answers, weight)  # (1, R*W, 3)
    return painted[0].t().unflatten(1, crossing[2:])  # (3, R, W)
