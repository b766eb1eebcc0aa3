"""Decode an output grid in bands of rows.

For each band, the experts decode the output pixels around its LR pixels. Then the local ensemble blends the
colours of neighbouring LR pixels.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.coordinates import ensemble_weights
from moeisr_plugin.archs.implicit_network import ImplicitDecoder, ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.precision import float32_or_better
from moeisr_plugin.render import triton_backend
from moeisr_plugin.render.bands import Band, split_into_bands
from moeisr_plugin.render.casting import rendering
from moeisr_plugin.render.chunks import changed_chunks
from moeisr_plugin.render.clip_memory import BandMemory, ClipMemory
from moeisr_plugin.render.grid import GridAxis, grid_axis
from moeisr_plugin.render.grid_decoder import grid_decoder
from moeisr_plugin.render.window import AxisWindow, View, Window, view_of

# Queries per band. Limits memory independently of the size of the image. In addition, LTE needs 2 KiB per LR
# pixel, that is, per 16 queries at scale 2.
_BAND_QUERIES = {"cpu": 2_097_152, "cuda": 8_388_608}
# Output pixels per step of blending. On a CPU, their indices and weights should fit in the cache.
_BLENDED_PIXELS = {"cpu": 65_536, "cuda": 33_554_432}


def render(
    net: ImplicitNetwork, encoding: Encoding, size: tuple[int, int], window: Window | None = None
) -> Tensor:
    """Decode an output grid, each LR pixel by the expert with its largest score. Autocast is disabled.

    Args:
        net: the network, in training or evaluation mode.
        encoding: encoding of B images.
        size: (H, W) of the output. Any size is possible, also with different scales of the axes. Below the
            size of the window, pixels are samples, not averages.
        window: the part of the picture that the output shows, see :func:`.checked_window`. Defaults to the
            whole picture. Time and memory are those of the window, not of the picture.

    Returns:
        RGB (B, 3, H, W), nominally in [0, 1], not clamped. Its type is that of the latent, but at least
        float32.

    Raises:
        ValueError: If the output has no pixels.
    """
    latent = encoding.latent
    output = latent.new_empty(len(latent), 3, *size, dtype=float32_or_better(latent))
    for sample, picture in enumerate(output):
        one = Encoding(*(part[sample : sample + 1] for part in encoding))
        start = 0
        for band in render_bands(net, one, size, window):
            stop = start + band.shape[2]
            picture[:, start:stop] = band[0]
            start = stop
    return output


def render_bands(
    net: ImplicitNetwork, encoding: Encoding, size: tuple[int, int], window: Window | None = None
) -> Iterator[Tensor]:
    """Decode an output grid of one image in bands from top to bottom, to limit memory.

    The arguments are those of :func:`render`.

    Yields:
        RGB (1, 3, N, W). N may differ from band to band.

    Raises:
        ValueError: If the output has no pixels, or the encoding has not exactly one image.
    """
    if min(size) < 1:
        raise ValueError(f"an output of {size[0]}x{size[1]} has no pixels")
    if len(encoding.latent) != 1:
        raise ValueError(f"bands need one image; the encoding has {len(encoding.latent)}")
    bands = _bands(net, encoding, view_of(encoding.latent.shape[2:], size, window))
    return (band for _, band in bands if band is not None)


def changed_bands(
    net: ImplicitNetwork, encoding: Encoding, size: tuple[int, int], memory: ClipMemory
) -> Iterator[tuple[slice, Tensor | None]]:
    """Decode the bands of a frame of a clip that differ from the former frame. See :func:`render_bands`.

    Args:
        net: the network.
        encoding: the result of :func:`.encode` with the same memory, possibly with another routing.
        size: (H, W) of the output, the same for all frames.
        memory: what is known of the former frame.

    Yields:
        Rows of the output, and either the band that `render_bands` yields for them, or None if it equals that
        of the former frame.
    """
    return _bands(net, encoding, view_of(encoding.latent.shape[2:], size), memory.bands)


def _bands(
    net: ImplicitNetwork, encoding: Encoding, view: View, memory: BandMemory | None = None
) -> Iterator[tuple[slice, Tensor | None]]:
    if isinstance(net, ImplicitDecoder):
        return changed_chunks(net, encoding, view, memory)
    if isinstance(net, ImplicitSR):
        return _folded_bands(net, encoding, view, memory)
    raise ValueError(f"{type(net).__name__} cannot be rendered; make it an ImplicitDecoder")


def _folded_bands(
    net: ImplicitSR, encoding: Encoding, view: View, memory: BandMemory | None
) -> Iterator[tuple[slice, Tensor | None]]:
    rows, columns = (_grid_axis(net, encoding.latent, axis) for axis in view)
    queries_per_lr_row = rows.offsets.shape[1] * columns.offsets.numel()
    blended_rows = max(1, limit_for(_BLENDED_PIXELS, encoding.latent) // view.columns.size)
    bands = split_into_bands(rows, max(1, limit_for(_BAND_QUERIES, encoding.latent) // queries_per_lr_row))
    rows, columns = (axis.to(encoding.latent.device) for axis in (rows, columns))
    choice = routing.choose_expert(encoding.scores[:, :, rows.latents, columns.latents])[0]
    groups = _group_by_band(choice, bands, len(net.experts))
    kept = [False] * len(bands) if memory is None else memory.kept_bands(bands, choice, net.embedding.radius)
    with rendering(net, encoding.latent):
        decode = grid_decoder(net, encoding.latent, _rel_cell(net, encoding.latent, view))
    colours = encoding.latent.new_empty(0)  # (h', w, P, R, 3), of LR rows from band.context_start
    for number, (band, following, pixels) in enumerate(zip(bands, [*bands[1:], None], groups, strict=True)):
        if memory is not None and kept[number]:
            colours = memory.keep(number)
            yield slice(band.start, band.stop), None
            continue
        with rendering(net, encoding.latent):
            new_colours = decode(
                _padded_rows(net, encoding.latent, band, rows, columns),
                pixels,
                rows.offsets[band.lr_start : band.lr_stop],
                columns.offsets,
            )
            colours = torch.cat([colours, new_colours]) if len(colours) else new_colours
            part = rows.part(band.start, band.stop)
            part = part._replace(index=part.index - band.context_start)
            parts = [_blend(net, encoding.lr, colours, piece, columns) for piece in part.split(blended_rows)]
        yield slice(band.start, band.stop), torch.cat(parts, dim=1)[None]
        if following:
            colours = colours[following.context_start - band.context_start :]
        if memory is not None:
            memory.carry(number, colours if following else colours[:0])


def _grid_axis(net: ImplicitSR, latent: Tensor, axis: AxisWindow) -> GridAxis:
    return grid_axis(
        axis.size,
        axis.length,
        local_ensemble=net.local_ensemble,
        dtype=float32_or_better(latent),
        span=(axis.start, axis.stop),
    )


def _group_by_band(choice: Tensor, bands: Sequence[Band], num_experts: int) -> list[list[Tensor]]:
    """Group the new LR pixels of each band by their expert.

    All bands are grouped at once, because the host waits for a GPU whenever it reads the sizes of groups.

    Args:
        choice: (h, w) in [0, J), expert of each LR pixel that is needed.
        bands: all bands.
        num_experts: number J of experts.

    Returns:
        For each band, J tensors (N_j,), indices relative to the first new LR pixel of the band.
    """
    choice = choice[: bands[-1].lr_stop].clone()
    for number, band in enumerate(bands):
        choice[band.lr_start : band.lr_stop] += number * num_experts
    groups = iter(routing.group_by_expert(choice.flatten(), len(bands) * num_experts))
    width = choice.shape[1]
    return [[next(groups) - band.lr_start * width for _ in range(num_experts)] for band in bands]


def _rel_cell(net: ImplicitSR, latent: Tensor, view: View) -> Tensor:
    """Return the cell relative to a latent, (1, 2)."""
    height, width = latent.shape[2:]
    rel_cell = net.embedding.rel_cell((view.rows.total, view.columns.total), (height, width))
    return torch.tensor([rel_cell], dtype=float32_or_better(latent), device=latent.device)


def _padded_rows(net: ImplicitSR, latent: Tensor, band: Band, rows: GridAxis, columns: GridAxis) -> Tensor:
    """Return the new LR rows of a band, padded by the radius of the embedding.

    The padding has neighbouring latents inside the image and zeros outside.
    """
    (height, width), radius = latent.shape[2:], net.embedding.radius
    top, bottom = rows.first + band.lr_start - radius, rows.first + band.lr_stop + radius
    left, right = columns.latents.start - radius, columns.latents.stop + radius
    inside = latent[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    padding = [max(-left, 0), max(right - width, 0), max(-top, 0), max(bottom - height, 0)]
    return F.pad(inside, padding)


def _blend(net: ImplicitSR, lr: Tensor, colours: Tensor, rows: GridAxis, columns: GridAxis) -> Tensor:
    """Blend the colours at the neighbours of each output pixel and add the base image.

    Args:
        net: the network.
        lr: LR image, (1, 3, h, w).
        colours: (h', w, P, R, 3), decoded from the LR rows to which ``rows.index`` refers.
        rows: N rows of the output.
        columns: W columns of the output.

    Returns:
        (3, N, W).
    """
    coord = torch.stack(torch.meshgrid(rows.coord, columns.coord, indexing="ij"), dim=-1)  # (N, W, 2)
    average = triton_backend.kernels().blend if triton_backend.supports(colours) else _average
    blended = average(colours, rows, columns)  # (N, W, 3)
    rgb = net.add_base(lr, coord.flatten(0, 1)[None], blended.flatten(0, 1)[None])  # (1, N*W, 3)
    return rgb[0].t().unflatten(1, blended.shape[:2])  # (3, N, W)


def _average(colours: Tensor, rows: GridAxis, columns: GridAxis) -> Tensor:
    """Average colours (h', w, P, R, 3) by the weights of the local ensemble. Return (N, W, 3)."""
    # The index of a colour is the sum of a row part and a column part.
    _, latent_width, per_pixel_rows, per_pixel_columns, _ = colours.shape
    row_position = (rows.index * latent_width * per_pixel_rows + rows.slot) * per_pixel_columns  # (Vy, N)
    column_position = columns.index * per_pixel_rows * per_pixel_columns + columns.slot  # (Vx, W)
    position = row_position.int()[:, None, :, None] + column_position.int()[None, :, None]  # (Vy, Vx, N, W)
    rel_y, rel_x = (
        rows.rel[:, None, :, None].expand_as(position),
        columns.rel[None, :, None].expand_as(position),
    )
    weight = ensemble_weights(rel_y.flatten(0, 1), rel_x.flatten(0, 1))  # (V, N, W)
    # A weighted embedding bag gathers, multiplies and sums in one step.
    blended = F.embedding_bag(
        position.flatten(0, 1).flatten(1).t().contiguous(),  # (N*W, V)
        colours.view(-1, 3),
        per_sample_weights=weight.flatten(1).t().contiguous(),
        mode="sum",
    )
    return blended.unflatten(0, position.shape[2:])  # (N, W, 3)
