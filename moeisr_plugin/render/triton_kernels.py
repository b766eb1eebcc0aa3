"""Kernels in Triton, whose hidden states never reach a GPU's memory.

To write and read them there takes longer than to compute them. Importing this needs Triton; :mod:`.fused`
tells where it is used.
"""

# Triton may not be there, and its language is not Python's.
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

# A product of matrices has at least so many columns, of which the last layer needs three.
_COLOURS = tl.constexpr(16)
# Output pixels blended and numbers of a convolution finished by a program.
_BLENDED, _FINISHED = 256, 2048
# Features of a first layer computed by a program; by bytes of a number, at how many LR pixels, and how many
# neighbours are read ahead: what is read should fit into the 99 KiB that many GPUs have for it, and but for
# float32 that is not rounded does.
_FEATURES, _LOOKED_AT = 128, {2: (128, 3), 4: (64, 2)}


@triton.jit
def _relu(x):
    return tl.maximum(x, 0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _as_factor(x, PRODUCTS: tl.constexpr):
    """Numbers as they are multiplied: in TF32 rounded, as tensor cores cut off what it has no bits for."""
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
    table,  # (h * w, WIDTH), of which rows are written
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
    """The first layer of an expert but for the relative coordinate, at its LR pixels: a convolution there."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < total
    pixel = tl.load(pixels + place, mask=inside, other=0)  # (BLOCK,)
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
    """Of each query whether it is one, its LR pixel, its place around it, and its relative coordinate."""
    query = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = query < total
    pixel = tl.load(pixels + query // (P * R), mask=inside, other=0)
    around = (query % (P * R)).to(tl.int32)
    y = tl.load(rel_y + (pixel // lr_width) * P + around // R, mask=inside, other=0)
    x = tl.load(rel_x + (pixel % lr_width) * R + around % R, mask=inside, other=0)
    return inside, pixel, around, y, x


@triton.jit
def _first_layer(table, columns, pixel, y, x, feature, WIDTH: tl.constexpr, PRODUCTS: tl.constexpr):
    """The features of a first layer, after its ReLU: what is known of the LR pixel, and the rest."""
    hidden = tl.load(table + pixel[:, None] * WIDTH + feature[None]).to(tl.float32)
    hidden += y[:, None] * tl.load(columns + feature).to(tl.float32)[None]
    hidden += x[:, None] * tl.load(columns + WIDTH + feature).to(tl.float32)[None]
    return _as_factor(_relu(hidden), PRODUCTS).to(table.dtype.element_ty)


@triton.jit
def _after_layer(products, bias, kind: tl.constexpr, PRODUCTS: tl.constexpr):
    """The features of a layer from the products of its weights, in a type."""
    return _as_factor(_relu(products + tl.load(bias).to(tl.float32)[None]), PRODUCTS).to(kind)


@triton.jit
def _store_colours(answers, place, rgb, last_bias, inside):
    colour = tl.arange(0, _COLOURS)
    painted = inside[:, None] & (colour < 3)[None]
    rgb += tl.load(last_bias + colour, mask=colour < 3, other=0).to(tl.float32)[None]
    tl.store(answers + place[:, None] * 3 + colour[None], rgb, mask=painted)


@triton.jit(do_not_specialize=["total", "lr_width", "P", "R", "between"])
def _decode(
    table,  # (h * w, WIDTH)
    columns,  # (2, WIDTH), of the relative coordinate
    pixels,  # (N,)
    rel_y,  # (h, P)
    rel_x,  # (w, R)
    weights,  # (between, WIDTH, WIDTH)
    biases,  # (between, WIDTH)
    last,  # (3, WIDTH)
    last_bias,  # (3,)
    answers,  # (h * w, P, R, 3), of which rows are written
    total,
    lr_width,
    P,
    R,
    between,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    PRODUCTS: tl.constexpr,
):
    """The answers of an expert for the output pixels around its LR pixels."""
    inside, pixel, around, y, x = _queries(pixels, rel_y, rel_x, total, lr_width, P, R, BLOCK)
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
    _store_colours(answers, pixel * (P * R) + around, rgb, last_bias, inside)


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
    answers,
    total,
    lr_width,
    P,
    R,
    between,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    PRODUCTS: tl.constexpr,
):
    """The same, with the features of a layer in two halves."""
    HALF: tl.constexpr = WIDTH // 2
    inside, pixel, around, y, x = _queries(pixels, rel_y, rel_x, total, lr_width, P, R, BLOCK)
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
    is_one = (colour < 3)[None]
    rgb = tl.dot(low, tl.load(weight, mask=is_one, other=0), input_precision=PRODUCTS)
    rgb = tl.dot(high, tl.load(weight + HALF, mask=is_one, other=0), rgb, input_precision=PRODUCTS)
    _store_colours(answers, pixel * (P * R) + around, rgb, last_bias, inside)


@triton.jit(do_not_specialize=["height", "width", "lr_width", "P", "R"])
def _blend(
    answers,  # (h, w, P, R, 3)
    index_y,  # (V, N)
    slot_y,
    rel_y,
    index_x,  # (V, W)
    slot_x,
    rel_x,
    blended,  # (N, W, 3)
    height,
    width,
    lr_width,
    P,
    R,
    NEIGHBOURS: tl.constexpr,
    MIN_AREA: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """What the neighbours of output pixels answer, by the area diagonally opposite (LIIF, Eq. 4)."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    red = tl.zeros([BLOCK], blended.dtype.element_ty)
    green, blue, whole = red, red, red
    for v in tl.static_range(NEIGHBOURS):
        y = tl.load(rel_y + (NEIGHBOURS - 1 - v) * height + row)
        above = (tl.load(index_y + v * height + row) * lr_width) * P + tl.load(slot_y + v * height + row)
        for u in tl.static_range(NEIGHBOURS):
            x = tl.load(rel_x + (NEIGHBOURS - 1 - u) * width + column, mask=inside, other=0)
            beside = tl.load(index_x + u * width + column, mask=inside, other=0)
            slot = tl.load(slot_x + u * width + column, mask=inside, other=0)
            answer = answers + ((above + beside * P) * R + slot) * 3
            area = tl.abs(y * x) + MIN_AREA
            red += area * tl.load(answer, mask=inside, other=0)
            green += area * tl.load(answer + 1, mask=inside, other=0)
            blue += area * tl.load(answer + 2, mask=inside, other=0)
            whole += area
    pixel = blended + (row * width + column) * 3
    tl.store(pixel, red / whole, mask=inside)
    tl.store(pixel + 1, green / whole, mask=inside)
    tl.store(pixel + 2, blue / whole, mask=inside)


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
    """A bias, and a ReLU or a shortcut, in one pass."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < total
    channel = (place if CHANNELS_LAST else place // per_channel) % CHANNELS
    finished = tl.load(x + place, mask=inside).to(tl.float32) + tl.load(bias + channel).to(tl.float32)
    if RELU:
        finished = _relu(finished)
    if SHORTCUT:
        finished = finished * scale + tl.load(shortcut + place, mask=inside).to(tl.float32)
    tl.store(x + place, finished.to(x.dtype.element_ty), mask=inside)


class PackedExpert(NamedTuple):
    """An expert on LIIF's embedding of D channels, as kernels read it.

    What is multiplied is rounded as the products are. The C features are a power of two, some of them always
    zero if the expert has fewer.
    """

    taps: Tensor  # (side², C, D), its first layer's part of each latent around
    constant: Tensor  # (C,)
    columns: Tensor  # (2, C), of the relative coordinate
    weights: Tensor  # (L, C, C), of the L layers between the first and the last; anything if there are none
    biases: Tensor  # (L, C)
    last: Tensor  # (3, C)
    last_bias: Tensor  # (3,)
    between: int  # L


def pack(expert: Expert, first: LIIFParts, channels: int, *, width: int, products: str) -> PackedExpert:
    """An expert packed.

    Args:
        expert: of at most as many features.
        first: its first layer, taken apart.
        channels: D.
        width: C.
        products: as of :func:`precompute_first_layer`.
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
    """Numbers of float32 with 10 bits of mantissa, contiguous; rounded as by `_as_factor`."""
    factors = factors.contiguous()
    rounded = (factors.view(torch.int32) + 0x1000) & -0x2000
    return torch.where(factors.isnan(), factors, rounded.view(torch.float32))


def precompute_first_layer(
    table: Tensor, latent: Tensor, pixels: Tensor, expert: PackedExpert, *, products: str
) -> None:
    """Writes the first layer of an expert, but for the relative coordinate, at its LR pixels.

    Args:
        table: (h * w, C), row by row.
        latent: (h + 2 * radius, w + 2 * radius, D), padded and contiguous.
        pixels: (N,) rows of the table.
        expert: whose they are.
        products: how float32 is multiplied: ``tf32``, or ``tf32x3``, which rounds no more than it must.
    """
    side = math.isqrt(len(expert.taps))
    block, stages = _LOOKED_AT[table.element_size()]
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
    answers: Tensor,
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
    """Writes the answers of an expert for the output pixels around its LR pixels.

    Args:
        answers: (h * w, P, R, 3), of float32.
        table: (h * w, C), what is known of each LR pixel.
        pixels: (N,), those of the expert.
        rel_y: (h, P), the rows around each row of LR pixels.
        rel_x: (w, R), likewise.
        expert: which one.
        products: as of :func:`precompute_first_layer`.
        queries: computed by a program at a time.
        warps: of 32 threads, that share them.
        halves: compute a layer's features in halves; the weights of more than 128 would not fit.
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
            answers,
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


def blend(answers: Tensor, rows: GridAxis, columns: GridAxis) -> Tensor:
    """The answers (h, w, P, R, 3) for the output pixels where N rows and W columns cross, (N, W, 3)."""
    (neighbours, height), width = rows.index.shape, columns.index.shape[1]
    blended = answers.new_empty(height, width, 3)
    tables = [
        t.clone(memory_format=torch.contiguous_format)  # a part may lie as another compiled kernel needs it
        for axis in (rows, columns)
        for t in (axis.index, axis.slot, axis.rel)
    ]
    with torch.cuda.device_of(answers):
        _blend[(height, triton.cdiv(width, _BLENDED))](
            answers,
            *tables,
            blended,
            height,
            width,
            *answers.shape[1:4],
            NEIGHBOURS=neighbours,
            MIN_AREA=MIN_AREA,
            BLOCK=_BLENDED,
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
    """What a convolution without its bias gives, (B, C, h, w), finished in place.

    Args:
        x: dense, with its channels first or last in memory.
        bias: (C,).
        relu: a ReLU follows.
        shortcut: added to x times the scale; in the same order in memory.
        scale: of x.
    """
    with torch.cuda.device_of(x):
        _apply_epilogue[(triton.cdiv(x.numel(), _FINISHED),)](
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
            BLOCK=_FINISHED,
        )
    return x
