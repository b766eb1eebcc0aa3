"""Kernels in Triton, whose hidden states never reach a GPU's memory.

To write and read them there takes longer than to compute them. Importing this needs Triton; :mod:`.fused`
tells where it is used.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from moeisr_plugin.archs.coordinates import MIN_AREA
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.render.grid import GridAxis

# A product of matrices has at least so many columns, of which the last layer needs three.
_COLOURS = tl.constexpr(16)
# Output pixels blended and numbers of a convolution finished by a program; LR pixels looked at, and features.
_BLENDED, _FINISHED, _LOOKED_AT = 256, 2048, (128, 128)


@triton.jit
def _relu(x):
    return tl.maximum(x, 0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _look_around(
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
    for tap in tl.static_range(SIDE * SIDE):
        row = corner + (tap // SIDE) * padded_width + tap % SIDE
        near = tl.load(latent + row[:, None] * CHANNELS + channel[None])  # (BLOCK, CHANNELS)
        weight = tl.load(weights + (tap * WIDTH + feature[None]) * CHANNELS + channel[:, None])
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
def _first_layer(table, columns, pixel, y, x, feature, WIDTH: tl.constexpr):
    """The features of a first layer, after its ReLU: what is known of the LR pixel, and the rest."""
    hidden = tl.load(table + pixel[:, None] * WIDTH + feature[None]).to(tl.float32)
    hidden += y[:, None] * tl.load(columns + feature).to(tl.float32)[None]
    hidden += x[:, None] * tl.load(columns + WIDTH + feature).to(tl.float32)[None]
    return _relu(hidden).to(table.dtype.element_ty)


@triton.jit
def _store_colours(answers, place, rgb, last_bias, inside):
    colour = tl.arange(0, _COLOURS)
    painted = inside[:, None] & (colour < 3)[None]
    rgb += tl.load(last_bias + colour, mask=colour < 3, other=0).to(tl.float32)[None]
    tl.store(answers + place[:, None] * 3 + colour[None], rgb, mask=painted)


@triton.jit
def _paint(
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
    hidden = _first_layer(table, columns, pixel, y, x, feature, WIDTH)  # (BLOCK, WIDTH)
    square = feature[None] * WIDTH + feature[:, None]
    for layer in tl.range(between, num_stages=1):
        weight = tl.load(weights + layer * WIDTH * WIDTH + square)
        after = tl.dot(hidden, weight, input_precision=PRODUCTS)
        after += tl.load(biases + layer * WIDTH + feature).to(tl.float32)[None]
        hidden = _relu(after).to(table.dtype.element_ty)
    colour = tl.arange(0, _COLOURS)
    weight = tl.load(last + colour[None] * WIDTH + feature[:, None], mask=(colour < 3)[None], other=0)
    rgb = tl.dot(hidden, weight, input_precision=PRODUCTS)
    _store_colours(answers, pixel * (P * R) + around, rgb, last_bias, inside)


@triton.jit
def _paint_in_halves(
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
    low = _first_layer(table, columns, pixel, y, x, feature, WIDTH)  # (BLOCK, HALF)
    high = _first_layer(table, columns, pixel, y, x, feature + HALF, WIDTH)
    quarter = feature[None] * WIDTH + feature[:, None]
    for layer in tl.range(between, num_stages=1):
        weight = weights + layer * WIDTH * WIDTH + quarter
        bias = biases + layer * WIDTH + feature
        after_low = tl.dot(low, tl.load(weight), input_precision=PRODUCTS)
        after_low = tl.dot(high, tl.load(weight + HALF), after_low, input_precision=PRODUCTS)
        after_low = _relu(after_low + tl.load(bias).to(tl.float32)[None]).to(table.dtype.element_ty)
        weight += HALF * WIDTH
        after_high = tl.dot(low, tl.load(weight), input_precision=PRODUCTS)
        after_high = tl.dot(high, tl.load(weight + HALF), after_high, input_precision=PRODUCTS)
        high = _relu(after_high + tl.load(bias + HALF).to(tl.float32)[None]).to(table.dtype.element_ty)
        low = after_low
    colour = tl.arange(0, _COLOURS)
    weight = last + colour[None] * WIDTH + feature[:, None]
    is_one = (colour < 3)[None]
    rgb = tl.dot(low, tl.load(weight, mask=is_one, other=0), input_precision=PRODUCTS)
    rgb = tl.dot(high, tl.load(weight + HALF, mask=is_one, other=0), rgb, input_precision=PRODUCTS)
    _store_colours(answers, pixel * (P * R) + around, rgb, last_bias, inside)


@triton.jit
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


@triton.jit
def _finish_convolution(
    x,
    bias,
    shortcut,
    scale,
    total,
    per_channel,
    CHANNELS: tl.constexpr,
    RELU: tl.constexpr,
    SHORTCUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A bias, and a ReLU or a shortcut, in one pass; so many numbers in a row share a channel."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < total
    channel = (place // per_channel) % CHANNELS
    finished = tl.load(x + place, mask=inside).to(tl.float32) + tl.load(bias + channel).to(tl.float32)
    if RELU:
        finished = _relu(finished)
    if SHORTCUT:
        finished = finished * scale + tl.load(shortcut + place, mask=inside).to(tl.float32)
    tl.store(x + place, finished.to(x.dtype.element_ty), mask=inside)


def look_around(
    table: Tensor, latent: Tensor, pixels: Tensor, weight: Tensor, constant: Tensor, *, products: str
) -> None:
    """Writes the first layer of an expert, but for the relative coordinate, at its LR pixels.

    Args:
        table: (h * w, C) of any, row by row.
        latent: (1, D, h + 2 * radius, w + 2 * radius), padded, with its channels last in memory.
        pixels: (N,) rows of the table.
        weight: (C, D * side * side), the columns of the neighbourhood.
        constant: (C,), what else is known.
        products: how float32 is multiplied: ``tf32``, or ``tf32x3``, which rounds no more than it must.
    """
    channels, padded_width = latent.shape[1], latent.shape[3]
    width, side = len(weight), round((weight.shape[1] / channels) ** 0.5)
    taps = weight.unflatten(1, (channels, side * side)).permute(2, 0, 1).contiguous()  # (side², C, D)
    block, part = _LOOKED_AT[0], min(width, _LOOKED_AT[1])
    if len(pixels):
        with torch.cuda.device_of(table):
            _look_around[(triton.cdiv(len(pixels), block), width // part)](
                latent.permute(0, 2, 3, 1).contiguous(),  # (1, h + 2 * radius, w + 2 * radius, D)
                pixels,
                taps,
                constant,
                table,
                len(pixels),
                padded_width - side + 1,
                SIDE=side,
                CHANNELS=channels,
                WIDTH=width,
                PART=part,
                BLOCK=block,
                PRODUCTS=products,
                num_warps=8,
            )


def paint(
    answers: Tensor,
    expert: Expert,
    table: Tensor,
    columns: Tensor,
    pixels: Tensor,
    rel_y: Tensor,
    rel_x: Tensor,
    *,
    products: str,
    queries: int,
    warps: int,
    halves: bool,
) -> None:
    """Writes the answers of an expert for the output pixels around its LR pixels.

    Args:
        answers: (h * w, P, R, 3), of float32.
        expert: of C features.
        table: (h * w, C), what is known of each LR pixel.
        columns: (2, C), of the relative coordinate.
        pixels: (N,), those of the expert.
        rel_y: (h, P), the rows around each row of LR pixels.
        rel_x: (w, R), likewise.
        products: as of :func:`look_around`.
        queries: computed by a program at a time.
        warps: of 32 threads, that share them.
        halves: compute a layer's features in halves; the weights of more than 128 would not fit.
    """
    *between, last = expert.linears[1:]
    width, total = table.shape[1], len(pixels) * rel_y.shape[1] * rel_x.shape[1]
    weights = torch.stack([layer.weight for layer in between]) if between else last.weight
    biases = torch.stack([layer.bias for layer in between]) if between else last.bias
    if total:
        kernel = _paint_in_halves if halves else _paint
        with torch.cuda.device_of(table):
            kernel[(triton.cdiv(total, queries),)](
                table,
                columns,
                pixels,
                rel_y,
                rel_x,
                weights,
                biases,
                last.weight,
                last.bias,
                answers,
                total,
                len(rel_x),
                rel_y.shape[1],
                rel_x.shape[1],
                len(between),
                WIDTH=width,
                BLOCK=queries,
                PRODUCTS=products,
                num_warps=warps,
            )


def blend(answers: Tensor, rows: GridAxis, columns: GridAxis) -> Tensor:
    """The answers (h, w, P, R, 3) for the output pixels where N rows and W columns cross, (N, W, 3)."""
    (neighbours, height), width = rows.index.shape, columns.index.shape[1]
    blended = answers.new_empty(height, width, 3)
    tables = [t.contiguous() for axis in (rows, columns) for t in (axis.index, axis.slot, axis.rel)]
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


def finish_convolution_(
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
    channels_last = x.stride(1) == 1
    with torch.cuda.device_of(x):
        _finish_convolution[(triton.cdiv(x.numel(), _FINISHED),)](
            x,
            bias,
            x if shortcut is None else shortcut,
            scale,
            x.numel(),
            1 if channels_last else x.shape[2] * x.shape[3],
            CHANNELS=len(bias),
            RELU=relu,
            SHORTCUT=shortcut is not None,
            BLOCK=_FINISHED,
        )
    return x
