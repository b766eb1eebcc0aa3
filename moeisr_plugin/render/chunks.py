"""Render a grid by the `decode` of a network, some queries at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from moeisr_plugin.archs.coordinates import pixel_centers
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitDecoder
from moeisr_plugin.ops.precision import float32_or_better
from moeisr_plugin.render.casting import rendering


def chunked_bands(net: ImplicitDecoder, encoding: Encoding, size: tuple[int, int]) -> Iterator[Tensor]:
    """Decode an output grid of one image in bands from top to bottom.

    Memory for decoding depends on `ImplicitDecoder.queries_at_a_time`, not on the size of the output.

    Args:
        net: the network.
        encoding: encoding of one image.
        size: (H, W) of the output, at least (1, 1).

    Yields:
        RGB (1, 3, N, W). N may differ from band to band.
    """
    like = encoding.latent.new_empty(0, dtype=float32_or_better(encoding.latent))
    rows, columns = (pixel_centers(n, dtype=like.dtype, device=like.device) for n in size)
    cell = torch.tensor([[2 / size[0], 2 / size[1]]], dtype=like.dtype, device=like.device)  # (1, 2)
    for part in rows.split(max(1, net.queries_at_a_time // size[1])):
        coord = torch.stack(torch.meshgrid(part, columns, indexing="ij"), dim=-1).view(
            1, -1, 2
        )  # (1, N*W, 2)
        with rendering(net, encoding.latent):
            pieces = [net.decode(encoding, q, cell) for q in coord.split(net.queries_at_a_time, dim=1)]
            band = torch.cat(pieces, dim=1).to(like)  # (1, N*W, 3)
        yield band.mT.unflatten(2, (len(part), size[1]))  # (1, 3, N, W)
