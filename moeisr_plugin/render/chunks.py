"""Render a grid by the `decode` of a network, some queries at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitDecoder
from moeisr_plugin.ops.precision import float32_or_better
from moeisr_plugin.render.casting import rendering
from moeisr_plugin.render.clip_memory import BandMemory
from moeisr_plugin.render.window import View


def chunked_bands(net: ImplicitDecoder, encoding: Encoding, view: View) -> Iterator[Tensor]:
    """Decode an output grid of one image in bands from top to bottom.

    Memory for decoding depends on `ImplicitDecoder.queries_at_a_time`, not on the size of the output.

    Args:
        net: the network.
        encoding: encoding of one image.
        view: the output pixels, at least one.

    Yields:
        RGB (1, 3, N, W). N may differ from band to band.
    """
    like = encoding.latent.new_empty(0, dtype=float32_or_better(encoding.latent))
    rows, columns = (axis.centres(like.dtype).to(like) for axis in view)
    cell = torch.tensor([[2 / axis.total for axis in view]], dtype=like.dtype, device=like.device)  # (1, 2)
    for part in rows.split(max(1, net.queries_at_a_time // len(columns))):
        coord = torch.stack(torch.meshgrid(part, columns, indexing="ij"), dim=-1).view(
            1, -1, 2
        )  # (1, N*W, 2)
        with rendering(net, encoding.latent):
            pieces = [net.decode(encoding, q, cell) for q in coord.split(net.queries_at_a_time, dim=1)]
            band = torch.cat(pieces, dim=1).to(like)  # (1, N*W, 3)
        yield band.mT.unflatten(2, (len(part), len(columns)))  # (1, 3, N, W)


def changed_chunks(
    net: ImplicitDecoder, encoding: Encoding, view: View, memory: BandMemory | None
) -> Iterator[tuple[slice, Tensor | None]]:
    """Yield the rows and the pixels of all bands, or all rows and None if nothing changed.

    A query may depend on any latent, so that a change anywhere may change all of them.

    Args:
        net, encoding, view: see :func:`chunked_bands`.
        memory: what is known of the former frame of a clip. None for a picture.
    """
    if memory is not None and memory.keeps_all(routing.choose_expert(encoding.scores)[0]):
        memory.kept += 1
        yield slice(0, view.rows.size), None
        return
    start = 0
    for band in chunked_bands(net, encoding, view):
        yield slice(start, start + band.shape[2]), band
        start += band.shape[2]
    if memory is not None:
        memory.computed += 1
