"""Triton kernels that keep hidden states in registers.

Writing hidden states to GPU memory and reading them takes longer than computing them. This module can only be
imported if Triton is installed. :mod:`.triton_backend` decides where it is used.
"""

# Triton may be missing, and its language is not typed as Python.
# pyright: reportMissingImports=false, reportIndexIssue=false, reportArgumentType=false
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.archs.coordinates import MIN_AREA
from moeisr_plugin.archs.embeddings import LIIFParts
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.render.grid import GridAxis

# Smallest number of columns of a matrix product. The last layer uses three of them.
_COLOURS = tl.constexpr(16)
# Output pixels per program in blending, and elements per program in epilogues.
_BLEND_BLOCK, _EPILOGUE_BLOCK = 256, 2048
# Features per program in the first layer.
_FEATURES = 128
# LR pixels per program and pipeline stages in the first layer, by bytes of an element. Except for tf32x3, the
# buffers fit in the 99 KiB of shared memory that many GPUs have.
_FIRST_LAYER_BLOCKS = {2: (128, 3), 4: (64, 2)}


@triton.jit
def _relu(x):
    return tl.maximum(x, 0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _as_factor(x, PRODUCTS: tl.constexpr):
    """Round factors to TF32. Tensor cores truncate them, which adds a bias to sums."""
    if PRODUCTS == "tf32":
        bits = x.to(tl.int32, bitcast=True)
        rounded = ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
        x = tl.where(x == x, rounded, x)  # the bits of NaN may overflow
    return x


@triton.jit(do_not_specialize=["total", "lr_width"])
def _precompute_first_layer(
    latent,  # (h + 2 * radius, w + 2 * radius, CHANNELS)
    pixels,  # (N,)
    weights,  # (SIDE * SIDE, WIDTH, CHANNELS)
    constant,  # (WIDTH,)
    table,  # (h * w, WIDTH), output; only the rows of `pixels` are written
    total,
    lr_width,
    SIDE: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    PART: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    PRODUCTS: tl.constexpr,
):
    """First layer of an expert without the relative coordinate, at its LR pixels, as a convolution."""
    position = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = position < total
    pixel = tl.load(pixels + position, mask=inside, other=0)  # (BLOCK,)
    padded_width = lr_width + SIDE - 1
    corner = (pixel // lr_width) * padded_width + pixel % lr_width
    channel = tl.arange(0, CHANNELS)
    feature = tl.program_id(1) * PART + tl.arange(0, PART)
    hidden = tl.zeros([BLOCK, PART], tl.float32)
    for tap in tl.range(SIDE * SIDE, num_stages=STAGES):
        row = corner + (tap // SIDE) * padded_width + tap % SIDE
        near = tl.load(latent + row[:, None] * CHANNELS + channel[None])  # (BLOCK, CHANNELS)
        weight = tl.load(weights + (tap * WIDTH + feature[None]) * CHANNELS + channel[:, None])
        near = _as_factor(near, PRODUCTS)
        hidden = tl.dot(near, weight, hidden, input_precision=PRODUCTS)  # (BLOCK, PART)
    hidden += tl.load(constant + feature)[None]
    to = table + pixel[:, None] * WIDTH + feature[None]
    tl.store(to, hidden.to(table.dtype.element_ty), mask=inside[:, None])


@triton.jit
def _queries(pixels, rel_y, rel_x, total, lr_width, P, R, BLOCK: tl.constexpr):
    """Return for each query its validity, LR pixel, position in the grid of the pixel, and coordinate."""
    query = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = query < total
    pixel = tl.load(pixels + query // (P * R), mask=inside, other=0)
    grid_position = (query % (P * R)).to(tl.int32)
    y = tl.load(rel_y + (pixel // lr_width) * P + grid_position // R, mask=inside, other=0)
    x = tl.load(rel_x + (pixel % lr_width) * R + grid_position % R, mask=inside, other=0)
    return inside, pixel, grid_position, y, x


@triton.jit
def _first_layer(table, columns, pixel, y, x, feature, WIDTH: tl.constexpr, PRODUCTS: tl.constexpr):
    """Add the relative coordinate to the precomputed terms of the first layer. Apply ReLU."""
    hidden = tl.load(table + pixel[:, None] * WIDTH + feature[None]).to(tl.float32)
    hidden += y[:, None] * tl.load(columns + feature).to(tl.float32)[None]
    hidden += x[:, None] * tl.load(columns + WIDTH + feature).to(tl.float32)[None]
    return _as_factor(_relu(hidden), PRODUCTS).to(table.dtype.element_ty)


@triton.jit
def _after_layer(products, bias, kind: tl.constexpr, PRODUCTS: tl.constexpr):
    """Add the bias to the products of a layer, apply ReLU, and convert to a type."""
    return _as_factor(_relu(products + tl.load(bias).to(tl.float32)[None]), PRODUCTS).to(kind)


@triton.jit
def _store_colours(colours, position, rgb, last_bias, inside):
    colour = tl.arange(0, _COLOURS)
    valid = inside[:, None] & (colour < 3)[None]
    rgb += tl.load(last_bias + colour, mask=colour < 3, other=0).to(tl.float32)[None]
    tl.store(colours + position[:, None] * 3 + colour[None], rgb, mask=valid)


@triton.jit(do_not_specialize=["total", "lr_width", "P", "R", "between"])
def _decode(
    table,  # (h * w, WIDTH)
    columns,  # (2, WIDTH), weights of the relative coordinate
    pixels,  # (N,)
    rel_y,  # (h, P)
    rel_x,  # (w, R)
    weights,  # (between, WIDTH, WIDTH)
    biases,  # (between, WIDTH)
    last,  # (3, WIDTH)
    last_bias,  # (3,)
    colours,  # (h * w, P, R, 3), output; only the rows of `pixels` are written
    total,
    lr_width,
    P,
    R,
    between,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    PRODUCTS: tl.constexpr,
):
    """Decode the output pixels around the LR pixels of an expert."""
    inside, pixel, grid_position, y, x = _queries(pixels, rel_y, rel_x, total, lr_width, P, R, BLOCK)
    feature = tl.arange(0, WIDTH)
    hidden = _first_layer(table, columns, pixel, y, x, feature, WIDTH, PRODUCTS)  # (BLOCK, WIDTH)
    square = feature[None] * WIDTH + feature[:, None]
    for layer in tl.range(between, num_stages=1):
        weight = tl.load(weights + layer * WIDTH * WIDTH + square)
        hidden = tl.dot(hidden, weight, input_precision=PRODUCTS)
        hidden = _after_layer(hidden, biases + layer * WIDTH + feature, table.dtype.element_ty, PRODUCTS)
    colour = tl.arange(0, _COLOURS)
    weight = tl.load(last + colour[None] * WIDTH + feature[:, None], mask=(colour < 3)[None], other=0)
    rgb = tl.dot(hidden, weight, input_precision=PRODUCTS)
    _store_colours(colours, pixel * (P * R) + grid_position, rgb, last_bias, inside)


@triton.jit(do_not_specialize=["total", "lr_width", "P", "R", "between"])
def _decode_in_halves(
    table,
    columns,
    pixels,
    rel_y,
    rel_x,
    weights,
    biases,
    last,
    last_bias,
    colours,
    total,
    lr_width,
    P,
    R,
    between,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    PRODUCTS: tl.constexpr,
):
    """Like `_decode`, with the features of a layer in two halves."""
    HALF: tl.constexpr = WIDTH // 2
    inside, pixel, grid_position, y, x = _queries(pixels, rel_y, rel_x, total, lr_width, P, R, BLOCK)
    feature = tl.arange(0, HALF)
    low = _first_layer(table, columns, pixel, y, x, feature, WIDTH, PRODUCTS)  # (BLOCK, HALF)
    high = _first_layer(table, columns, pixel, y, x, feature + HALF, WIDTH, PRODUCTS)
    quarter = feature[None] * WIDTH + feature[:, None]
    for layer in tl.range(between, num_stages=1):
        weight = weights + layer * WIDTH * WIDTH + quarter
        bias = biases + layer * WIDTH + feature
        after_low = tl.dot(low, tl.load(weight), input_precision=PRODUCTS)
        after_low = tl.dot(high, tl.load(weight + HALF), after_low, input_precision=PRODUCTS)
        weight += HALF * WIDTH
        after_high = tl.dot(low, tl.load(weight), input_precision=PRODUCTS)
        after_high = tl.dot(high, tl.load(weight + HALF), after_high, input_precision=PRODUCTS)
        low = _after_layer(after_low, bias, table.dtype.element_ty, PRODUCTS)
        high = _after_layer(after_high, bias + HALF, table.dtype.element_ty, PRODUCTS)
    colour = tl.arange(0, _COLOURS)
    weight = last + colour[None] * WIDTH + feature[:, None]
    is_colour = (colour < 3)[None]
    rgb = tl.dot(low, tl.load(weight, mask=is_colour, other=0), input_precision=PRODUCTS)
    rgb = tl.dot(high, tl.load(weight + HALF, mask=is_colour, other=0), rgb, input_precision=PRODUCTS)
    _store_colours(colours, pixel * (P * R) + grid_position, rgb, last_bias, inside)


@triton.jit(do_not_specialize=["height", "width", "lr_width", "P", "R"])
def _blend(
    colours,  # (h, w, P, R, 3)
    index_y,  # (V, N)
    slot_y,
    rel_y,
    index_x,  # (V, W)
    slot_x,
    rel_x,
    blended,  # (N, W, 3), output
    height,
    width,
    lr_width,
    P,
    R,
    NEIGHBOURS: tl.constexpr,
    MIN_AREA: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Weight the colours at the neighbours by the diagonally opposite area (LIIF, Eq. 4)."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    red = tl.zeros([BLOCK], blended.dtype.element_ty)
    green, blue, total_area = red, red, red
    for v in tl.static_range(NEIGHBOURS):
        y = tl.load(rel_y + (NEIGHBOURS - 1 - v) * height + row)
        above = (tl.load(index_y + v * height + row) * lr_width) * P + tl.load(slot_y + v * height + row)
        for u in tl.static_range(NEIGHBOURS):
            x = tl.load(rel_x + (NEIGHBOURS - 1 - u) * width + column, mask=inside, other=0)
            beside = tl.load(index_x + u * width + column, mask=inside, other=0)
            slot = tl.load(slot_x + u * width + column, mask=inside, other=0)
            source = colours + ((above + beside * P) * R + slot) * 3
            area = tl.abs(y * x) + MIN_AREA
            red += area * tl.load(source, mask=inside, other=0)
            green += area * tl.load(source + 1, mask=inside, other=0)
            blue += area * tl.load(source + 2, mask=inside, other=0)
            total_area += area
    pixel = blended + (row * width + column) * 3
    tl.store(pixel, red / total_area, mask=inside)
    tl.store(pixel + 1, green / total_area, mask=inside)
    tl.store(pixel + 2, blue / total_area, mask=inside)


@triton.jit(do_not_specialize=["total", "per_channel"])
def _apply_epilogue(
    x,
    bias,
    shortcut,
    scale,
    total,
    per_channel,
    CHANNELS: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    RELU: tl.constexpr,
    SHORTCUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add a bias, apply ReLU, multiply by the scale and add a shortcut, in one pass."""
    position = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = position < total
    channel = (position if CHANNELS_LAST else position // per_channel) % CHANNELS
    y = tl.load(x + position, mask=inside).to(tl.float32) + tl.load(bias + channel).to(tl.float32)
    if RELU:
        y = _relu(y)
    if SHORTCUT:
        y = y * scale + tl.load(shortcut + position, mask=inside).to(tl.float32)
    tl.store(x + position, y.to(x.dtype.element_ty), mask=inside)


class PackedExpert(NamedTuple):
    """Weights of an expert on the LIIF embedding, in the layout of the kernels.

    Factors of products are already rounded to their precision. The width C is a power of two. Features beyond
    the width of the expert are zero.

    Attributes:
        taps: (side², C, D), weights of the first layer for each latent of the neighbourhood.
        constant: (C,), bias of the first layer plus its product with the cell.
        columns: (2, C), weights of the relative coordinate in the first layer, y first.
        weights: (L, C, C), weights of the L layers between the first and the last; unused if L is 0.
        biases: (L, C), biases of these layers.
        last: (3, C), weights of the last layer.
        last_bias: (3,), bias of the last layer.
        between: L.
    """

    taps: Tensor
    constant: Tensor
    columns: Tensor
    weights: Tensor
    biases: Tensor
    last: Tensor
    last_bias: Tensor
    between: int


def pack(expert: Expert, first: LIIFParts, channels: int, *, width: int, products: str) -> PackedExpert:
    """Convert the weights of an expert to the layout of the kernels.

    Args:
        expert: expert with at most `width` features.
        first: first layer of the expert, split by its input.
        channels: width D of the latent.
        width: width C in the kernels.
        products: input precision of products; see :func:`precompute_first_layer`.
    """
    *between, last = expert.linears[1:]
    factors = _as_tf32 if products == "tf32" else torch.Tensor.contiguous
    zeros = [0, width - last.in_features]
    taps = first.of_latent.unflatten(1, (channels, -1)).permute(2, 0, 1)  # (side², features, D)
    weights = torch.stack([layer.weight for layer in between]) if between else last.weight
    biases = torch.stack([layer.bias for layer in between]) if between else last.bias
    return PackedExpert(
        taps=factors(F.pad(taps, [0, 0, *zeros])),
        constant=F.pad(first.constant[0], zeros),
        columns=F.pad(first.of_rel.t(), zeros).contiguous(),
        weights=factors(F.pad(weights, zeros + zeros)),
        biases=F.pad(biases, zeros),
        last=factors(F.pad(last.weight, zeros)),
        last_bias=last.bias,
        between=len(between),
    )


def _as_tf32(factors: Tensor) -> Tensor:
    """Round float32 to a mantissa of 10 bits, as `_as_factor` does. Return a contiguous tensor."""
    factors = factors.contiguous()
    rounded = (factors.view(torch.int32) + 0x1000) & -0x2000
    return torch.where(factors.isnan(), factors, rounded.view(torch.float32))


def precompute_first_layer(
    table: Tensor, latent: Tensor, pixels: Tensor, expert: PackedExpert, *, products: str
) -> None:
    """Write the first layer of an expert without the relative coordinate, at its LR pixels.

    Args:
        table: (h * w, C), output. Only the rows in `pixels` are written.
        latent: (h + 2 * radius, w + 2 * radius, D), padded and contiguous.
        pixels: (N,), the LR pixels of the expert in [0, h * w).
        expert: the packed expert.
        products: Triton's input precision of float32 products: ``tf32``, or ``tf32x3`` for the precision of
            float32. Use ``ieee`` for 16-bit types.
    """
    side = math.isqrt(len(expert.taps))
    block, stages = _FIRST_LAYER_BLOCKS[table.element_size()]
    part = min(table.shape[1], _FEATURES)
    if len(pixels):
        with torch.cuda.device_of(table):
            _precompute_first_layer[(triton.cdiv(len(pixels), block), table.shape[1] // part)](
                latent,
                pixels,
                expert.taps,
                expert.constant,
                table,
                len(pixels),
                latent.shape[1] - side + 1,
                SIDE=side,
                CHANNELS=latent.shape[2],
                WIDTH=table.shape[1],
                PART=part,
                BLOCK=block,
                STAGES=stages,
                PRODUCTS=products,
                num_warps=8,
            )


def decode(
    colours: Tensor,
    table: Tensor,
    pixels: Tensor,
    rel_y: Tensor,
    rel_x: Tensor,
    expert: PackedExpert,
    *,
    products: str,
    queries: int,
    warps: int,
    halves: bool,
) -> None:
    """Decode the output pixels around the LR pixels of an expert.

    Args:
        colours: (h * w, P, R, 3), float32, output. Only the rows in `pixels` are written.
        table: (h * w, C), result of :func:`precompute_first_layer`.
        pixels: (N,), the LR pixels of the expert in [0, h * w).
        rel_y: (h, P), y of the output rows relative to each LR row.
        rel_x: (w, R), x of the output columns relative to each LR column.
        expert: the packed expert.
        products: input precision of products; see :func:`precompute_first_layer`.
        queries: queries per program.
        warps: warps of 32 threads per program.
        halves: compute the features of a layer in two halves; necessary for widths above 128.
    """
    total = len(pixels) * rel_y.shape[1] * rel_x.shape[1]
    if not total:
        return
    kernel = _decode_in_halves if halves else _decode
    with torch.cuda.device_of(table):
        kernel[(triton.cdiv(total, queries),)](
            table,
            expert.columns,
            pixels,
            rel_y,
            rel_x,
            expert.weights,
            expert.biases,
            expert.last,
            expert.last_bias,
            colours,
            total,
            len(rel_x),
            rel_y.shape[1],
            rel_x.shape[1],
            expert.between,
            WIDTH=table.shape[1],
            BLOCK=queries,
            PRODUCTS=products,
            num_warps=warps,
        )


def blend(colours: Tensor, rows: GridAxis, columns: GridAxis) -> Tensor:
    """Blend the colours at the neighbours of each output pixel (LIIF, Eq. 4).

    Args:
        colours: (h, w, P, R, 3), result of :func:`decode`.
        rows: N rows of the output.
        columns: W columns of the output.

    Returns:
        (N, W, 3).
    """
    (neighbours, height), width = rows.index.shape, columns.index.shape[1]
    blended = colours.new_empty(height, width, 3)
    tables = [
        t.clone(memory_format=torch.contiguous_format)  # views may be misaligned; Triton would compile again
        for axis in (rows, columns)
        for t in (axis.index, axis.slot, axis.rel)
    ]
    with torch.cuda.device_of(colours):
        _blend[(height, triton.cdiv(width, _BLEND_BLOCK))](
            colours,
            *tables,
            blended,
            height,
            width,
            *colours.shape[1:4],
            NEIGHBOURS=neighbours,
            MIN_AREA=MIN_AREA,
            BLOCK=_BLEND_BLOCK,
        )
    return blended


def apply_epilogue_(
    x: Tensor,
    bias: Tensor,
    *,
    relu: bool = False,
    shortcut: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """Compute relu(x + bias) * scale + shortcut in place.

    Args:
        x: output of a convolution without bias, (B, C, h, w), dense, contiguous or channels last.
        bias: (C,).
        relu: apply ReLU.
        shortcut: (B, C, h, w), with the strides of `x`. Without it, `scale` is ignored.
        scale: factor of the output before the shortcut is added.

    Returns:
        x.
    """
    with torch.cuda.device_of(x):
        _apply_epilogue[(triton.cdiv(x.numel(), _EPILOGUE_BLOCK),)](
            x,
            bias,
            x if shortcut is None else shortcut,
            scale,
            x.numel(),
            x.shape[2] * x.shape[3],
            CHANNELS=len(bias),
            CHANNELS_LAST=x.stride(1) == 1,
            RELU=relu,
            SHORTCUT=shortcut is not None,
            BLOCK=_EPILOGUE_BLOCK,
        )
    return x
