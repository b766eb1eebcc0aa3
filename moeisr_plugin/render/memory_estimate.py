"""Estimate the memory of encoding and rendering from sizes alone, before anything is allocated.

The estimates count the arrays that exist at the same time and grow with the picture. They leave out what the
libraries need in addition, so they are rather too low than too high.
"""

import math

import torch

from moeisr_plugin.archs.implicit_network import ImplicitDecoder, ImplicitNetwork
from moeisr_plugin.render.encoding import _TILE
from moeisr_plugin.render.engine import _BAND_QUERIES

_RGB_BYTES = 12  # float32
_BOUND_ARRAYS = 2  # lower and upper bound of each LR pixel
_CHOICE_BYTES = 8  # an expert's index
_ACTIVATIONS = 3  # feature maps of a tile that a residual block needs at once
_BAND_ARRAYS = 4  # blended colours, both bounds, clamped colours


def encoding_memory(
    net: ImplicitNetwork, lr_size: tuple[int, int], *, dtype: torch.dtype | None = None
) -> int:
    """Return the bytes that a layer (colour or alpha) needs while it is encoded and until it is rendered.

    Args:
        net: the network.
        lr_size: (h, w).
        dtype: type of the latent. By default that of the encoder's parameters.
    """
    element = (dtype or next(net.encoder.parameters()).dtype).itemsize
    latent = int(net.encoder.latent_channels) * element  # type: ignore[arg-type]
    refined = net.refined_channels * element
    scores = len(net.experts) * element
    per_pixel = _RGB_BYTES * (1 + _BOUND_ARRAYS) + refined + scores + _CHOICE_BYTES
    tile = math.prod(min(side, _TILE["cpu"]) for side in lr_size)
    return math.prod(lr_size) * per_pixel + tile * latent * _ACTIVATIONS


def band_memory(net: ImplicitNetwork, lr_size: tuple[int, int], size: tuple[int, int]) -> int:
    """Return the bytes of the colours of a band while it is rendered.

    A band of a folded decoder has at least one row of LR pixels, which at a large scale is many output rows.
    The bands of other decoders are limited by `ImplicitDecoder.queries_at_a_time`.

    Args:
        net: the network.
        lr_size: (h, w).
        size: (H, W) of the output.
    """
    if isinstance(net, ImplicitDecoder):
        rows = min(size[0], max(1, net.queries_at_a_time // size[1]))
        return _RGB_BYTES * _BAND_ARRAYS * rows * size[1]
    neighbours = 2 if net.local_ensemble else 1
    decoded = (
        min(n, math.ceil(neighbours * n / lr_n)) for n, lr_n in zip(size, lr_size, strict=True)
    )  # output pixels decoded from an LR pixel, on each axis
    queries = lr_size[1] * math.prod(decoded)  # of a row of LR pixels
    lr_rows = min(lr_size[0], max(1, _BAND_QUERIES["cpu"] // queries))
    output_pixels = lr_rows * size[0] * size[1] // lr_size[0]
    return _RGB_BYTES * (lr_rows * queries + _BAND_ARRAYS * output_pixels)
