"""Count multiply-accumulates (MACs) of any call, and of decoders that are not folded."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from moeisr_plugin.archs.implicit_network import Encoding, ImplicitDecoder
from moeisr_plugin.render.triton_backend import without_kernels

_SIDE = 12
_QUERIES = 48


def _product_flops(features: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(features) * weight[0]


def _convolution_flops(
    picture: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any
) -> int:
    return 2 * math.prod(weight) * picture[0] * math.prod(out_shape[2:])


def _int8_product_flops(features: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    return 2 * math.prod(features) * out_shape[-1]


def _int8_convolution_flops(
    picture: Sequence[int], scale: Any, zero_point: Any, weight: Sequence[int], *rest: Any, **named: Any
) -> int:
    return _convolution_flops(picture, weight, *rest, **named)


# Operators unknown to torch's counter, if this version of torch has them.
_UNCOUNTED = {
    operator: flops
    for operator, flops in (
        (getattr(torch.ops.mkldnn, "_linear_pointwise", None), _product_flops),
        (getattr(torch.ops.aten, "_nnpack_spatial_convolution", None), _convolution_flops),
        (getattr(torch.ops.onednn, "qlinear_pointwise", None), _int8_product_flops),
        (getattr(torch.ops.onednn, "qconv2d_pointwise", None), _int8_convolution_flops),
    )
    if operator is not None
}


def count_macs(compute: Callable[[], object]) -> int:
    """Count the MACs of the matrix products and convolutions in a call.

    The call runs without Triton kernels, because torch does not count their products.
    """
    with without_kernels(), FlopCounterMode(display=False, custom_mapping=_UNCOUNTED) as counter:
        compute()
    return counter.get_total_flops() // 2


@torch.no_grad()
def unfolded_decoder_macs(net: ImplicitDecoder, lr_pixels: Sequence[int], queries: Sequence[int]) -> int:
    """Count the MACs of decoding, with the work of `refine` and the work per image.

    They are counted for 12x12 LR pixels and scaled by the numbers of LR pixels and of queries.

    Args:
        net: the network.
        lr_pixels: number of LR pixels of each expert.
        queries: number of queries of each expert, counted once per neighbour.
    """
    like = next(net.parameters())
    lr = torch.zeros(1, 3, _SIDE, _SIDE, device=like.device)
    latent = lr.new_zeros(1, net.latent_channels, _SIDE, _SIDE)
    refined = net.refine(latent)
    coord, cell = lr.new_zeros(1, 2 * _QUERIES, 2), lr.new_full((1, 2), 1 / _SIDE)
    neighbours = 4 if net.local_ensemble else 1
    per_pixel = count_macs(lambda: net.refine(latent)) / latent[0, 0].numel()
    macs = per_pixel * sum(lr_pixels)
    for j, (own_pixels, own_queries) in enumerate(zip(lr_pixels, queries, strict=True)):
        scores = lr.new_zeros(1, net.num_experts, _SIDE, _SIDE)
        scores[:, j] = 1
        encoding = Encoding(lr, refined, scores)
        one, two = (
            count_macs(lambda n=n, e=encoding: net.decode(e, coord[:, :n], cell))
            for n in (_QUERIES, 2 * _QUERIES)
        )
        macs += (two - one) / _QUERIES * own_queries / neighbours
        macs += (2 * one - two) / latent[0, 0].numel() * own_pixels
    return round(macs)
