"""Encode a picture in tiles, so that memory is bounded whatever the picture's size.

Only what is kept of a picture, its latent and its scores, is whole. A tile is computed with its context, the
LR pixels around it that can change it. Encoders that state their halo thus give just what they would give of
the whole picture. Those that have none, as attention hands information on across a picture, do not quite;
their tiles are blended into each other, so that no seam shows.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moeisr_plugin.archs.encoders.encoder_interface import convolution_halo, window_sizes
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.precision import as_they_are
from moeisr_plugin.render.casting import float32_products
from moeisr_plugin.render.convolutions import with_fast_convolutions

# LR pixels along a side of a tile, without its context. The context of EDSR-baseline makes tiles of 512 a
# fifth more work than a picture of 2048x1365 at once, tiles of 256 half as much again; a GPU has more memory.
_TILE = {"cpu": 512, "cuda": 1280}
# Tiles are not made smaller than this to fit a GPU's memory.
_SMALLEST_TILE = 64
# Context where no finite one is enough. In a SwinIR of published size with random weights, leaving out what
# reaches farther moved latents at the borders by less than a thousandth of their deviation.
_LARGE_CONTEXT = 32


class Tiling(NamedTuple):
    """How a picture is cut.

    Attributes:
        tile: LR pixels along a side of a tile, at most, without its context.
        context: LR pixels computed around a tile, where the picture does not end.
        blend: LR pixels along which a tile fades into the next, half of them in either; at most twice the
            context. Tiles that fade along one pixel lie side by side.
        grid: Tiles begin, and with their context begin, at multiples of this.
    """

    tile: int
    context: int
    blend: int = 1
    grid: int = 1


class Span(NamedTuple):
    """One tile along one axis."""

    computed: slice  # with its context
    weight: Tensor  # of each computed pixel; those of all tiles sum to 1 at every pixel


def encode(net: ImplicitSR, lr: Tensor, *, tile: int | None = None) -> Encoding:
    """The encoding of an LR picture, as :meth:`ImplicitSR.encode` gives it without autocast.

    Args:
        net: the network.
        lr: (B, 3, h, w) in [0, 1]; read in the precision of the encoder's parameters, kept in its own.
        tile: LR pixels along a side of what is encoded at a time, the context not counted; by default what
            suits the device. Fewer where a GPU has no memory for as many.

    Returns:
        The same as untiled, up to rounding, if the encoder states its halo; otherwise close to it.

    Raises:
        ValueError: if tile is below 1.
    """
    if tile is not None and tile < 1:
        raise ValueError(f"tile is {tile}; give a number of LR pixels, 1 or more")
    like = next(net.encoder.parameters(), lr)
    tile = tile or limit_for(_TILE, like)
    with torch.inference_mode(), as_they_are(like), float32_products(net, like):
        encoder, mapper = with_fast_convolutions(net.encoder), with_fast_convolutions(net.mapper)
        normalised = (lr.to(like) - 0.5) / 0.5
        mapper_halo = convolution_halo(net.mapper)
        latent = _in_tiles_that_fit(encoder, normalised, partial(encoder_tiling, net.encoder), tile)
        scores = _in_tiles_that_fit(mapper, latent, partial(Tiling, context=mapper_halo), tile)
        return Encoding(lr, latent, scores.contiguous())


def encoder_tiling(encoder: nn.Module, tile: int) -> Tiling:
    """How pictures are cut for an encoder."""
    halo = getattr(encoder, "halo", None)
    if isinstance(halo, int):
        return Tiling(tile, context=halo)
    # A tile's windows of attention should be the whole picture's.
    grid = math.lcm(*window_sizes(encoder))
    context = -(-_LARGE_CONTEXT // grid) * grid
    return Tiling(tile, context=context, blend=context // 2, grid=grid)


def _in_tiles_that_fit(
    compute: Callable[[Tensor], Tensor], picture: Tensor, tiling_of: Callable[[int], Tiling], tile: int
) -> Tensor:
    """The same in tiles of this length, or of half and half again until a GPU has memory for them."""
    while True:
        try:
            return in_tiles(compute, picture, tiling_of(tile))
        except torch.cuda.OutOfMemoryError:
            tried = min(tile, max(picture.shape[2:]))
            if tried <= _SMALLEST_TILE:
                raise
            tile = max(tried // 2, _SMALLEST_TILE)


def in_tiles(compute: Callable[[Tensor], Tensor], picture: Tensor, tiling: Tiling) -> Tensor:
    """What a function gives of a picture, (B, C, h, w) to (B, C', h, w), tile by tile.

    What is returned has its channels last in memory, as decoders gather the latent pixel by pixel.
    """
    rows, columns = (spans(n, tiling) for n in picture.shape[2:])
    whole = None
    for row in rows:
        for column in columns:
            area = (..., row.computed, column.computed)
            part = compute(picture[area])
            if len(rows) == len(columns) == 1:
                return part.contiguous(memory_format=torch.channels_last)
            if whole is None:
                whole = _zeros(part, picture.shape[2:])
            weight = row.weight[:, None] * column.weight
            whole[area].addcmul_(part, weight.to(part))
    assert whole is not None
    return whole


def spans(n: int, tiling: Tiling) -> list[Span]:
    """The tiles along an axis of n pixels, about equally long."""
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
    """A tensor of zeros with the batch, the channels and the type of another."""
    shape = (*like.shape[:2], *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last).zero_()
