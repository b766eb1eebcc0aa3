"""Decode a whole output grid, band by band: LR pixels paint their surroundings, which are blended."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.coordinates import ensemble_weights
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.precision import float32_or_better, without_autocast
from moeisr_plugin.render import triton_backend
from moeisr_plugin.render.bands import Band, split_into_bands
from moeisr_plugin.render.casting import float32_products
from moeisr_plugin.render.grid import GridAxis, grid_axis
from moeisr_plugin.render.grid_decoder import grid_decoder

# Queries whose answers are held at a time, which bounds memory whatever the picture's size. Beside them lies
# what LTE knows of the LR pixels they ask, 2 KiB of each, which at x2 16 queries do.
_BAND_QUERIES = {"cpu": 2_097_152, "cuda": 8_388_608}
# Output pixels blended at a time, whose places and weights should fit a processor's cache.
_BLENDED_PIXELS = {"cpu": 65_536, "cuda": 33_554_432}


def render(net: ImplicitSR, encoding: Encoding, size: tuple[int, int]) -> Tensor:
    """Decode an output grid, each LR pixel's surroundings by the expert chosen for it, without autocast.

    Args:
        net: the network; its mode of training does not matter.
        encoding: of B pictures.
        size: (H, W) of the output; any size, each axis with its own scale.

    Returns:
        (B, 3, H, W), nominally in [0, 1], not clamped; float32 where the latent is of lower precision.

    Raises:
        ValueError: if the output has no pixels.
    """
    latent = encoding.latent
    output = latent.new_empty(len(latent), 3, *size, dtype=float32_or_better(latent))
    for sample, picture in enumerate(output):
        one = Encoding(*(part[sample : sample + 1] for part in encoding))
        start = 0
        for band in render_bands(net, one, size):
            stop = start + band.shape[2]
            picture[:, start:stop] = band[0]
            start = stop
    return output


def render_bands(net: ImplicitSR, encoding: Encoding, size: tuple[int, int]) -> Iterator[Tensor]:
    """The same for one picture, band by band from the top: no more than a band need be in memory.

    Yields:
        (1, 3, N, W), for an N that bounds memory and may differ from band to band.

    Raises:
        ValueError: if the output has no pixels, or there is not exactly one picture.
    """
    if min(size) < 1:
        raise ValueError(f"an output of {size[0]}x{size[1]} has no pixels")
    if len(encoding.latent) != 1:
        raise ValueError(f"bands are of one picture, not of a batch of {len(encoding.latent)}")
    rows, columns = (_grid_axis(net, encoding.latent, n, axis) for axis, n in enumerate(size))
    queries_per_lr_row = rows.offsets.shape[1] * columns.offsets.numel()
    blended_rows = max(1, limit_for(_BLENDED_PIXELS, encoding.latent) // size[1])
    bands = split_into_bands(rows, max(1, limit_for(_BAND_QUERIES, encoding.latent) // queries_per_lr_row))
    rows, columns = (axis.to(encoding.latent.device) for axis in (rows, columns))
    groups = _group_by_band(routing.choose_expert(encoding.scores)[0], bands, len(net.experts))
    with _as_rendered(net, encoding.latent):
        paint = grid_decoder(net, encoding.latent, _rel_cell(net, encoding.latent, size))
    held = encoding.latent.new_empty(0)
    for band, following, pixels in zip(bands, [*bands[1:], None], groups, strict=True):
        with _as_rendered(net, encoding.latent):
            painted = paint(
                _padded_rows(net, encoding.latent, band),
                pixels,
                rows.offsets[band.lr_start : band.lr_stop],
                columns.offsets,
            )
            held = torch.cat([held, painted]) if len(held) else painted
            part = rows.part(band.start, band.stop)
            part = part._replace(index=part.index - band.context_start)
            parts = [_blend(net, encoding.lr, held, piece, columns) for piece in part.split(blended_rows)]
        yield torch.cat(parts, dim=1)[None]
        if following:
            held = held[following.context_start - band.context_start :]


@contextmanager
def _as_rendered(net: ImplicitSR, latent: Tensor) -> Iterator[None]:
    """The context in which a network's experts are asked."""
    with torch.inference_mode(), without_autocast(latent), float32_products(net, latent):
        yield


def _grid_axis(net: ImplicitSR, latent: Tensor, size: int, axis: int) -> GridAxis:
    return grid_axis(
        size,
        latent.shape[2 + axis],
        local_ensemble=net.local_ensemble,
        dtype=float32_or_better(latent),
    )


def _group_by_band(choice: Tensor, bands: Sequence[Band], num_experts: int) -> list[list[Tensor]]:
    """Of each band's new LR pixels those that each expert is chosen for, by the choice for all, (h, w).

    For all bands at once, as a GPU's host waits for the groups' sizes.
    """
    choice = choice[: bands[-1].lr_stop].clone()
    for number, band in enumerate(bands):
        choice[band.lr_start : band.lr_stop] += number * num_experts
    groups = iter(routing.group_by_expert(choice.flatten(), len(bands) * num_experts))
    width = choice.shape[1]
    return [[next(groups) - band.lr_start * width for _ in range(num_experts)] for band in bands]


def _rel_cell(net: ImplicitSR, latent: Tensor, size: tuple[int, int]) -> Tensor:
    """The cell in latents, (1, 2)."""
    height, width = latent.shape[2:]
    rel_cell = net.embedding.rel_cell(size, (height, width))
    return torch.tensor([rel_cell], dtype=float32_or_better(latent), device=latent.device)


def _padded_rows(net: ImplicitSR, latent: Tensor, band: Band) -> Tensor:
    """A band's new rows of the latent with what the embedding looks at around them."""
    height, radius = latent.shape[2], net.embedding.radius
    above, below = max(band.lr_start - radius, 0), min(band.lr_stop + radius, height)
    rim = [radius, radius, above - (band.lr_start - radius), band.lr_stop + radius - below]
    return F.pad(latent[:, :, above:below], rim)


def _blend(net: ImplicitSR, lr: Tensor, answers: Tensor, rows: GridAxis, columns: GridAxis) -> Tensor:
    """The pixels where N rows and W columns of the output cross, (3, N, W).

    Args:
        net: the network.
        lr: the picture (1, 3, h, w).
        answers: (h', w, P, R, 3), of the LR rows that ``rows.index`` counts.
        rows: of the output.
        columns: of the output.
    """
    coord = torch.stack(torch.meshgrid(rows.coord, columns.coord, indexing="ij"), dim=-1)  # (N, W, 2)
    weighted = triton_backend.kernels().blend if triton_backend.supports(answers) else _weighted
    blended = weighted(answers, rows, columns)  # (N, W, 3)
    painted = net.add_base(lr, coord.flatten(0, 1)[None], blended.flatten(0, 1)[None])  # (1, N*W, 3)
    return painted[0].t().unflatten(1, blended.shape[:2])  # (3, N, W)


def _weighted(answers: Tensor, rows: GridAxis, columns: GridAxis) -> Tensor:
    """The answers (h', w, P, R, 3) for output pixels by the weights of the local ensemble, (N, W, 3)."""
    # Where the answers for an output pixel lie: a row's part plus a column's.
    _, latent_width, per_pixel_rows, per_pixel_columns, _ = answers.shape
    row_place = (rows.index * latent_width * per_pixel_rows + rows.slot) * per_pixel_columns  # (Vy, N)
    column_place = columns.index * per_pixel_rows * per_pixel_columns + columns.slot  # (Vx, W)
    place = row_place.int()[:, None, :, None] + column_place.int()[None, :, None]  # (Vy, Vx, N, W)
    rel_y, rel_x = rows.rel[:, None, :, None].expand_as(place), columns.rel[None, :, None].expand_as(place)
    weight = ensemble_weights(rel_y.flatten(0, 1), rel_x.flatten(0, 1))  # (V, N, W)
    # A weighted bag of embeddings is a gather, a product and a sum in one.
    blended = F.embedding_bag(
        place.flatten(0, 1).flatten(1).t().contiguous(),  # (N*W, V)
        answers.view(-1, 3),
        per_sample_weights=weight.flatten(1).t().contiguous(),
        mode="sum",
    )
    return blended.unflatten(0, place.shape[2:])  # (N, W, 3)
