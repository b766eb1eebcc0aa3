"""Split an output grid into bands of rows, so that each LR row is decoded exactly once."""

from typing import NamedTuple

import torch

from moeisr_plugin.render.grid import GridAxis


class Band(NamedTuple):
    """Output rows [start, stop), blended from the colours of LR rows [context_start, lr_stop).

    Only LR rows [lr_start, lr_stop) are new. Earlier bands have decoded those before them.
    """

    context_start: int
    lr_start: int
    lr_stop: int
    start: int
    stop: int


def split_into_bands(rows: GridAxis, lr_rows: int) -> list[Band]:
    """Split the rows of a grid into bands of ``lr_rows`` new LR rows each.

    The last band may have fewer. A band has more where ``lr_rows`` LR rows complete no output row.
    """
    height, latent_height = rows.index.shape[1], len(rows.offsets)
    lr_stops = [*range(lr_rows, latent_height, lr_rows), latent_height]
    # An output row is complete once its lower neighbour is decoded.
    stops = torch.searchsorted(rows.index[-1], torch.tensor(lr_stops, device="cpu"))
    upper_neighbours = [*rows.index[0].tolist(), latent_height]
    bands = []
    lr_start, start = 0, 0
    for lr_stop, stop in zip(lr_stops, stops.tolist(), strict=True):
        if stop > start:
            bands.append(Band(min(upper_neighbours[start], lr_start), lr_start, lr_stop, start, stop))
            lr_start, start = lr_stop, stop
    assert start == height
    return bands
