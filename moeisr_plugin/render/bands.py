"""How a grid is cut into bands of output rows, so that every LR row is painted once."""

from typing import NamedTuple

import torch

from moeisr_plugin.render.grid import GridAxis


class Band(NamedTuple):
    """Output rows start to stop, which are decoded from LR rows held to last."""

    held: int
    first: int  # the LR rows before this one were painted for earlier bands
    last: int
    start: int
    stop: int


def cut_into_bands(rows: GridAxis, lr_rows: int) -> list[Band]:
    """Bands that paint so many LR rows each, the last one fewer; more only where those fill no output row."""
    height, latent_height = rows.index.shape[1], len(rows.around)
    lasts = [*range(lr_rows, latent_height, lr_rows), latent_height]
    # Whose latents lie before those.
    stops = torch.searchsorted(rows.index[-1], torch.tensor(lasts, device="cpu"))
    highest = [*rows.index[0].tolist(), latent_height]
    bands = []
    first, start = 0, 0
    for last, stop in zip(lasts, stops.tolist(), strict=True):
        if stop > start:
            bands.append(Band(min(highest[start], first), first, last, start, stop))
            first, start = last, stop
    assert start == height
    return bands
