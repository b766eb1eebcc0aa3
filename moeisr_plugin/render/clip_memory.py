"""What the frames of a clip share: tiles and bands with the inputs of the former frame are not computed anew.

A tile or band is kept only if all its inputs are unchanged. So frames equal those that are computed in full.
The shape of a computation may change its rounding. So tiles and bands are always computed as a whole.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from moeisr_plugin.render.bands import Band

# LR pixels around an output pixel on which its base image and its bounds depend.
_MARGIN = 2

Area = tuple[slice, slice]


class TileMemory:
    """The outputs of the tiles of the former frame.

    Attributes:
        computed, kept: numbers of tiles, over all frames.
        changed: (h, w), which pixels of the output differ from the former frame.
    """

    def __init__(self) -> None:
        self.computed = self.kept = 0
        self._parts: dict[tuple[int, ...], Tensor] = {}

    def begin(self, changed: Tensor) -> None:
        """Start a frame.

        Args:
            changed: (h, w), which pixels of the input differ from the former frame.
        """
        self._input, self.changed = changed, torch.zeros_like(changed)
        self._former, self._parts = self._parts, {}

    def part(self, area: Area, compute: Callable[[], Tensor]) -> Tensor:
        """Return the output of a tile, (1, C, h', w').

        Args:
            area: rows and columns of the input on which the tile depends.
            compute: computes the output.
        """
        key = (area[0].start, area[0].stop, area[1].start, area[1].stop)
        former = self._former.get(key)
        if former is not None and not self._input[area].any():
            self.kept += 1
            self._parts[key] = former
            return former
        part = self._parts[key] = compute()
        self.computed += 1
        self.changed[area] |= True if former is None else (part != former).any(1)[0]
        return part


class BandMemory:
    """The bands of the former frame.

    Attributes:
        computed, kept: numbers of bands, over all frames.
    """

    def __init__(self) -> None:
        self.computed = self.kept = 0
        self._choice: Tensor | None = None
        self._carried: dict[int, Tensor] = {}

    def begin(self, changed: Tensor) -> None:
        """Start a frame.

        Args:
            changed: (h, w), for which LR pixels the colour, the latent or a score differs.
        """
        self._changed = changed
        self._former, self._carried = self._carried, {}

    def kept_bands(self, bands: Sequence[Band], choice: Tensor, radius: int) -> list[bool]:
        """Return which bands have the output of the former frame.

        Args:
            bands: all bands, the same for all frames.
            choice: (h, w), the expert of each LR pixel.
            radius: LR pixels around a latent on which its decoding depends.
        """
        rows = self._changed_rows(choice)
        margin = max(radius, _MARGIN)
        same = [not any(rows[max(0, b.lr_start - margin) : b.lr_stop + margin]) for b in bands]
        return [
            all(same[i] for i in range(number + 1) if bands[i].lr_stop > band.context_start)
            for number, band in enumerate(bands)
        ]

    def keeps_all(self, choice: Tensor) -> bool:
        """Return whether the whole output is that of the former frame. `choice` is (h, w)."""
        return not any(self._changed_rows(choice))

    def keep(self, number: int) -> Tensor:
        """Return the colours that a kept band hands to the next one."""
        self.kept += 1
        self._carried[number] = self._former[number]
        return self._carried[number]

    def carry(self, number: int, colours: Tensor) -> None:
        """Remember the colours that a computed band hands to the next one."""
        self.computed += 1
        self._carried[number] = colours.clone()  # a view would keep all colours of the band

    def _changed_rows(self, choice: Tensor) -> list[bool]:
        changed = self._changed
        if self._choice is not None:  # at first, all is changed
            changed = changed | (choice != self._choice)
        self._choice = choice
        return changed.any(1).tolist()


class ClipMemory:
    """What is kept of the former frame of a clip, for one network and one output size.

    Its memory is that of the outputs of all tiles, which is a little more than that of a latent.

    Attributes:
        encoder, mapper: the tiles.
        bands: the bands of the output.
    """

    def __init__(self) -> None:
        self.encoder, self.mapper, self.bands = TileMemory(), TileMemory(), BandMemory()
        self._lr: Tensor | None = None

    def begin(self, lr: Tensor) -> None:
        """Start a frame, an LR image (1, 3, h, w).

        Raises:
            ValueError: it has another size than the former frame.
        """
        if self._lr is not None and self._lr.shape != lr.shape:
            raise ValueError("all frames of a clip must have the same size")
        if self._lr is None:
            changed = torch.ones(lr.shape[2:], dtype=torch.bool, device=lr.device)
        else:
            changed = (lr != self._lr).any(1)[0]
        self._lr, self._changed = lr, changed
        self.encoder.begin(changed)

    def latent_is_known(self, *, refined: bool) -> None:
        """Go on from the encoder to the mapper.

        Args:
            refined: whether the latent was processed further, each pixel with any others.
        """
        changed = self.encoder.changed
        if refined:
            changed = changed.any().expand_as(changed)
        self._changed = self._changed | changed
        self.mapper.begin(changed)

    def scores_are_known(self) -> None:
        """Go on from the mapper to the output."""
        self.bands.begin(self._changed | self.mapper.changed)
