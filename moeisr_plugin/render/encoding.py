"""Encode an image in tiles, so that memory for activations does not grow with its size.

A tile is encoded together with its context, the surrounding LR pixels within the receptive field. If the
encoder states the radius of its receptive field (halo), the result equals that of the whole image. Encoders
with an unbounded receptive field, for example with attention, give a close result. Their tiles are blended
into each other to avoid seams.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moeisr_plugin.archs.encoders.encoder_interface import convolution_halo
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitDecoder, ImplicitNetwork
from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.precision import without_autocast
from moeisr_plugin.render.casting import float32_products
from moeisr_plugin.render.clip_memory import ClipMemory, TileMemory
from moeisr_plugin.render.convolutions import channels_last, with_fast_convolutions
from moeisr_plugin.render.int8_network import int8_in_use

# Side of a tile in LR pixels, without context. For EDSR-baseline and an image of 2048x1365, the context adds
# 20 % of work with tiles of 512, and 50 % with tiles of 256.
_TILE = {"cpu": 512, "cuda": 1280}
# Smallest tile that is tried when a GPU is out of memory.
_SMALLEST_TILE = 64
# Context for an unbounded receptive field. For a SwinIR of published size with random weights, it changes
# latents at tile borders by less than 0.001 of their standard deviation.
_LARGE_CONTEXT = 32


class Tiling(NamedTuple):
    """How an image is split into tiles.

    Attributes:
        tile: largest side of a tile in LR pixels, without context.
        context: LR pixels computed around a tile, within the image.
        blend: width in LR pixels of the linear transition between two tiles, half of it in each. At most
            twice the context. With 1, tiles are adjacent and not blended.
        grid: tiles start at multiples of this number, with and without context.
    """

    tile: int
    context: int
    blend: int = 1
    grid: int = 1


class Span(NamedTuple):
    """One tile along one axis."""

    computed: slice  # including context
    weight: Tensor  # of each computed pixel; sums to 1 over the tiles that contain the pixel


def encode(
    net: ImplicitNetwork,
    lr: Tensor,
    *,
    tile: int | None = None,
    on_tile: Callable[[int, int], object] | None = None,
    memory: ClipMemory | None = None,
) -> Encoding:
    """Encode an LR image in tiles, without autocast.

    Args:
        net: the network.
        lr: (B, 3, h, w) in [0, 1]. It is cast to the type of the encoder's parameters for encoding.
        tile: side of a tile in LR pixels, without context. The default depends on the device. Tiles get
            smaller if a GPU runs out of memory.
        on_tile: called after each tile of the encoder with the number of finished tiles and of all tiles.
        memory: keeps tiles of the former frame of a clip, whose frames have B = 1. The result is the same.

    Returns:
        The result of :meth:`.ImplicitNetwork.encode` up to rounding if the encoder states its halo, otherwise
        an approximation of it.

    Raises:
        ValueError: If `tile` is less than 1.
    """
    if tile is not None and tile < 1:
        raise ValueError(f"tile is {tile}; give a number of LR pixels, 1 or more")
    like = next(net.encoder.parameters(), lr)
    tile = tile or limit_for(_TILE, like)
    with torch.inference_mode(), without_autocast(like), float32_products(net, like):
        encoder, mapper = _stages(net)
        normalised = (lr.to(like) - 0.5) / 0.5
        mapper_halo = convolution_halo(net.mapper)
        if memory is not None:
            memory.begin(lr)
        encoder_tiles, mapper_tiles = (memory.encoder, memory.mapper) if memory else (None, None)
        encoded = _in_tiles_that_fit(
            encoder, normalised, partial(encoder_tiling, net.encoder), tile, on_tile, encoder_tiles
        )
        latent = _refined(net, encoded, tile)
        if memory is not None:
            memory.latent_is_known(refined=latent is not encoded)
        scores = _in_tiles_that_fit(
            mapper, latent, partial(Tiling, context=mapper_halo), tile, memory=mapper_tiles
        )
        if memory is not None:
            memory.scores_are_known()
        return Encoding(lr, latent, scores.contiguous())


def _stages(net: ImplicitNetwork) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return the forward passes of the encoder and of the mapper."""
    parts = int8_in_use(net)
    if parts is None:
        return with_fast_convolutions(net.encoder), with_fast_convolutions(net.mapper)
    encoder, mapper = parts.encoder, parts.mapper
    return lambda picture: encoder(channels_last(picture)), lambda latent: mapper(channels_last(latent))


def _refined(net: ImplicitNetwork, latent: Tensor, tile: int) -> Tensor:
    """Return the result of `refine`, in tiles where the network states their side."""
    if not isinstance(net, ImplicitDecoder) or net.refined_tile is None:
        return net.refine(latent)
    context = net.refined_context
    tiling = partial(Tiling, context=context, blend=max(1, context))
    return _in_tiles_that_fit(net.refine, latent, tiling, min(tile, net.refined_tile))


def encoder_tiling(encoder: nn.Module, tile: int) -> Tiling:
    """Choose the tiling for an encoder."""
    halo = getattr(encoder, "halo", None)
    if isinstance(halo, int):
        return Tiling(tile, context=halo)
    grid = getattr(encoder, "tile_grid", 1)
    context = -(-_LARGE_CONTEXT // grid) * grid
    return Tiling(tile, context=context, blend=context // 2, grid=grid)


def _in_tiles_that_fit(
    compute: Callable[[Tensor], Tensor],
    picture: Tensor,
    tiling_of: Callable[[int], Tiling],
    tile: int,
    on_tile: Callable[[int, int], object] | None = None,
    memory: TileMemory | None = None,
) -> Tensor:
    """Call :func:`in_tiles`. Halve the tiles as long as a GPU runs out of memory."""
    while True:
        try:
            return in_tiles(compute, picture, tiling_of(tile), on_tile, memory)
        except torch.cuda.OutOfMemoryError:
            tried = min(tile, max(picture.shape[2:]))
            if tried <= _SMALLEST_TILE:
                raise
            tile = max(tried // 2, _SMALLEST_TILE)


def in_tiles(
    compute: Callable[[Tensor], Tensor],
    picture: Tensor,
    tiling: Tiling,
    on_tile: Callable[[int, int], object] | None = None,
    memory: TileMemory | None = None,
) -> Tensor:
    """Apply a function to an image tile by tile.

    Args:
        compute: maps (B, C, h, w) to (B, C', h, w).
        picture: (B, C, h, w).
        tiling: how the image is split.
        on_tile: called after each tile with the number of finished tiles and of all tiles.
        memory: keeps tiles of the former frame of a clip.

    Returns:
        (B, C', h, w) in channels-last format, because decoders gather the latent pixel by pixel.
    """
    rows, columns = (spans(n, tiling) for n in picture.shape[2:])
    tiles = list(itertools.product(rows, columns))
    whole = None
    for finished, (row, column) in enumerate(tiles, 1):
        area = (..., row.computed, column.computed)
        part = (
            compute(picture[area])
            if memory is None
            else memory.part(area[1:], partial(compute, picture[area]))
        )
        if on_tile is not None:
            on_tile(finished, len(tiles))
        if len(tiles) == 1:
            return part.contiguous(memory_format=torch.channels_last)
        if whole is None:
            whole = _zeros(part, picture.shape[2:])
        weight = row.weight[:, None] * column.weight
        whole[area].addcmul_(part, weight.to(part))
    assert whole is not None
    return whole


def spans(n: int, tiling: Tiling) -> list[Span]:
    """Split an axis of n pixels into tiles of about equal length."""
    tile, context, blend, grid = tiling
    cells = -(-n // grid)
    count = -(-cells // max(1, tile // grid))
    borders = [i * cells // count * grid for i in range(count)] + [n]
    pixel = torch.arange(n) + 0.5
    rises = [torch.ones(n), *(((pixel - b) / blend + 0.5).clamp(0, 1) for b in borders[1:-1]), torch.zeros(n)]
    found = []
    for i in range(count):
        computed = slice(max(0, borders[i] - context), min(n, borders[i + 1] + context))
        found.append(Span(computed, (rises[i] - rises[i + 1])[computed]))
    return found


def _zeros(like: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return zeros with the batch size, channels and type of another tensor, and another height and width."""
    shape = (*like.shape[:2], *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last).zero_()
