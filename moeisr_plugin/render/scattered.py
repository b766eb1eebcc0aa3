"""Decode an image at any coordinates: rotated, in perspective, or along a curve.

Terms of LR pixels are computed for tiles of the LR image, and only for those that have coordinates.
"""

import torch
from torch import Tensor

from moeisr_plugin.archs.coordinates import axis_neighbours
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitDecoder, ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.precision import float32_or_better
from moeisr_plugin.render.casting import rendering

# Side of a tile in LR pixels. The first layers of its pixels take 16 MiB for experts 256 wide.
_TILE = 128
# Coordinates that are decoded at a time. Limits memory.
_QUERIES = 32_768


def render_at(net: ImplicitNetwork, encoding: Encoding, coord: Tensor, cell: tuple[float, float]) -> Tensor:
    """Decode one image at coordinates, each LR pixel by the expert with its largest score.

    Args:
        net: the network.
        encoding: encoding of one image.
        coord: (Q, 2) in [-1, 1], y first, float64 on the CPU. Q can be 0.
        cell: size of an output pixel in the units of the coordinates, (2/H, 2/W). It counts as at most that
            of an LR pixel, the largest that networks are trained on. LTE clips it as for whole images.

    Returns:
        RGB (Q, 3), nominally in [0, 1], not clamped, in the type of the latent but at least float32.
    """
    like = encoding.latent
    cell = (min(cell[0], 2 / like.shape[2]), min(cell[1], 2 / like.shape[3]))
    colours = like.new_empty(len(coord), 3, dtype=float32_or_better(like))
    if isinstance(net, ImplicitDecoder):
        at_a_time, of_pixel = net.queries_at_a_time, colours.new_tensor([cell])  # (1, 2)
        for part, rgb in zip(coord.split(at_a_time), colours.split(at_a_time), strict=True):
            with rendering(net, like):
                rgb.copy_(net.decode(encoding, part.to(colours)[None], of_pixel)[0])
        return colours
    if not isinstance(net, ImplicitSR):
        raise ValueError(f"{type(net).__name__} cannot be rendered; make it an ImplicitDecoder")
    for queries in _by_tile(coord, like.shape[2:]):
        for some in queries.split(_QUERIES):
            with rendering(net, like):
                colours[some] = _decode_near(net, encoding, coord[some], cell).to(colours)
    return colours


def _by_tile(coord: Tensor, latent_size: torch.Size) -> tuple[Tensor, ...]:
    """Group coordinates (Q, 2) by the tile that contains them. Return their indices."""
    if len(coord) == 0:
        return ()
    tiles_per_row = -(-latent_size[1] // _TILE)
    tile_of_axis = [
        ((coord[:, axis] + 1) * (n / (2 * _TILE))).floor().long().clamp(0, (n - 1) // _TILE)
        for axis, n in enumerate(latent_size)
    ]
    tile = tile_of_axis[0] * tiles_per_row + tile_of_axis[1]  # (Q,)
    order = tile.argsort(stable=True)
    counts = torch.unique_consecutive(tile[order], return_counts=True)[1]
    return order.split(counts.tolist())


def _decode_near(net: ImplicitSR, encoding: Encoding, coord: Tensor, cell: tuple[float, float]) -> Tensor:
    """Decode coordinates that are close together, (Q, 2), from the LR pixels around them. Return (Q, 3)."""
    dtype, places, cells, areas = float32_or_better(encoding.latent), [], [], []
    height, width = encoding.latent.shape[2:]
    rel_cell = net.embedding.rel_cell((2 / cell[0], 2 / cell[1]), (height, width))
    for axis, n in enumerate((height, width)):
        index, _ = axis_neighbours(coord[:, axis], n, local_ensemble=net.local_ensemble)
        first = max(0, int(index.min()) - net.embedding.radius)
        stop = min(n, int(index.max()) + 1 + net.embedding.radius)
        place = (coord[:, axis] + 1) * (n / 2) - first  # in LR pixels of the area
        places.append((2 * place / (stop - first) - 1).to(encoding.latent.device, dtype))
        cells.append(rel_cell[axis] / (stop - first))
        areas.append(slice(first, stop))
    near = Encoding(*(part[:, :, areas[0], areas[1]] for part in encoding))
    cell_of_area = torch.tensor([cells], dtype=dtype, device=encoding.latent.device)  # (1, 2)
    return net.dispatch(near, torch.stack(places, dim=-1)[None], cell_of_area)[0]
