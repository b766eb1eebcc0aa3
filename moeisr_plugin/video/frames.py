"""Enlarge the frames of a clip one after another."""

import numpy as np
import torch

from moeisr_plugin import pictures, render
from moeisr_plugin.render.bounds import colour_bounds
from moeisr_plugin.render.casting import require_finite
from moeisr_plugin.render.encoded_picture import to_pixels
from moeisr_plugin.upscaler import Upscaler


class FrameUpscaler:
    """Enlarge the frames of a clip to the pixels that an `Upscaler` gives for each of them.

    Tiles of the encoder and bands of the output are computed only where their inputs differ from the former
    frame. See :mod:`.clip_memory`.

    Args:
        upscaler: the network and its device.
        size: (H, W) of the output.
        budget: share of the routing cost range. None for the routing of the mapper.

    Attributes:
        memory: what is kept of the former frame, with the numbers of tiles and bands.
    """

    def __init__(self, upscaler: Upscaler, size: tuple[int, int], *, budget: float | None = None) -> None:
        self.memory = render.ClipMemory()
        self._net, self._device = upscaler.net, upscaler.device
        self._size, self._budget = size, budget
        self._output = np.empty((*size, 3), np.uint8)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Enlarge the next frame.

        Args:
            frame: (h, w, 3) uint8 or uint16, the same size for all frames.

        Returns:
            (H, W, 3), with the type of the frame. It is overwritten by the next call.

        Raises:
            ValueError: the network outputs NaN or Inf, or the size of the frame differs.
        """
        (layer,) = pictures.to_layers(frame)
        lr = torch.from_numpy(np.ascontiguousarray(layer)).permute(2, 0, 1)[None].to(self._device)
        encoding = render.encode(self._net, lr, memory=self.memory)
        if self._budget is not None:
            encoding = render.within_budget(self._net, encoding, self._budget)
        if self._output.dtype != frame.dtype:
            self._output = self._output.astype(frame.dtype)
        bounds = None
        for rows, band in render.changed_bands(self._net, encoding, self._size, self.memory):
            if band is not None:
                require_finite(self._net, band)
                bounds = bounds or colour_bounds(lr)
                bounded = bounds.clamp(band, first_row=rows.start, size=self._size)
                self._output[rows] = to_pixels([bounded], like=frame)
        return self._output

    @property
    def kept(self) -> tuple[int, int]:
        """The number of tiles and bands that were kept, and of all."""
        parts = (self.memory.encoder, self.memory.mapper, self.memory.bands)
        kept = sum(part.kept for part in parts)
        return kept, kept + sum(part.computed for part in parts)
