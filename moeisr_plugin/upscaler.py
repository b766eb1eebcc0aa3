"""Enlarge pictures from Python: encode a picture once, and render it at any number of sizes."""

import os
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image

from moeisr_plugin import pictures, render
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.render.casting import supported_precision, to_precision
from moeisr_plugin.render.encoded_picture import EncodedPicture, progress_bar
from moeisr_plugin.render.sizes import enlarged_size
from moeisr_plugin.utils.progress import Bar

__all__ = ["PILLOW_MODES", "EncodedPicture", "Upscaler", "encode_layers", "enlarged_size"]

PILLOW_MODES = ("L", "LA", "RGB", "RGBA", "I;16")
"""Pillow modes whose pixel values are colours."""


class Upscaler:
    """Enlarge pictures to any scale or size.

    Args:
        weights: a checkpoint, or the name of a bundled network. By default a bundled network.
        device: device of the computation. By default the GPU if there is one.
        precision: ``float32``, ``tf32``, ``bfloat16``, ``float16`` or ``int8``. ``bfloat16`` and ``float16``
            are faster on hardware that supports them. ``tf32`` rounds the factors of float32 products on
            NVIDIA GPUs. Elsewhere it equals ``float32``. ``int8`` is the fastest on CPUs with AVX-512 VNNI.
            Elsewhere, a warning in the log states the precision that replaces it.
        progress: whether to show progress bars of encoding and rendering on stderr.
        keep_hidden_colour: whether transparent pixels keep their colour, as in textures whose alpha is a
            mask. Otherwise they become black, and edges get the colour of visible pixels only.

    Raises:
        CheckpointError: the weights cannot be used.
        ValueError: the precision is unknown.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        device: str | torch.device | None = None,
        precision: str = "float32",
        progress: bool = False,
        keep_hidden_colour: bool = False,
    ) -> None:
        self.progress = progress
        self.keep_hidden_colour = keep_hidden_colour
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.precision = supported_precision(precision, self.device)
        self.net = to_precision(network_from(weights or DEFAULT), self.precision).to(self.device)

    def __call__(
        self,
        image: np.ndarray,
        *,
        scale: float | tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
        window: Sequence[float] | None = None,
    ) -> np.ndarray:
        """Enlarge a picture, or a part of it.

        Args:
            image: (H, W) grey, or (H, W, C) with grey and alpha, RGB or RGBA. uint8, uint16, or float in
                [0, 1]. Pillow pictures and other inputs of `numpy.asarray` are accepted.
            scale: scale of both axes, or (y, x). The output has round(H * scale) rows.
            size: (height, width) of the output, instead of a scale.
            window: (top, left, bottom, right) of a part, in pixels of the picture. See
                :meth:`.EncodedPicture.render`.

        Returns:
            The enlarged picture, with the channels and type of the input.

        Raises:
            ValueError: not exactly one of scale and size is given, the output would be smaller than the
                input and no window is given, the window is empty or reaches beyond the picture, the picture
                has another layout, or the network outputs NaN or Inf.
        """
        return self.encode(image).render(scale=scale, size=size, window=window)

    @property
    def num_experts(self) -> int:
        """The number of experts; 1 without a mapper."""
        return self.net.num_experts

    def encode(
        self, image: np.ndarray, *, on_tile: Callable[[int, int], object] | None = None
    ) -> EncodedPicture:
        """Encode a picture once, to render it many times.

        Args:
            image: as in :meth:`__call__`.
            on_tile: called after each tile with the number of finished tiles and of all tiles. What it raises
                ends the encoding.
        """
        if isinstance(image, Image.Image) and image.mode not in PILLOW_MODES:
            raise ValueError(f"the picture has mode {image.mode}; convert it to RGB or RGBA first")
        pixels = np.asarray(image)
        layers = encode_layers(
            self.net,
            pixels,
            progress=self.progress,
            keep_hidden_colour=self.keep_hidden_colour,
            on_tile=on_tile,
        )
        return EncodedPicture(
            self.net,
            pixels,
            layers,
            progress=self.progress,
            keep_hidden_colour=self.keep_hidden_colour,
        )

    def expert_map(self, image: np.ndarray) -> np.ndarray | None:
        """Return the expert of each pixel of a picture. See :meth:`.EncodedPicture.expert_map`."""
        return self.encode(image).expert_map()


def encode_layers(
    net: ImplicitNetwork,
    pixels: np.ndarray,
    *,
    progress: bool = False,
    keep_hidden_colour: bool = False,
    on_tile: Callable[[int, int], object] | None = None,
) -> list[Encoding]:
    """Encode the colour of a picture and, unless it is opaque, its alpha.

    Args:
        net: the network, on any device.
        pixels: as in :meth:`Upscaler.__call__`.
        progress: whether to show a progress bar for each layer.
        keep_hidden_colour: as in :class:`Upscaler`.
        on_tile: as in :meth:`Upscaler.encode`.
    """
    device = next(net.parameters()).device
    encodings = []
    layers = pictures.to_layers(pixels, keep_hidden_colour=keep_hidden_colour)
    for number, layer in enumerate(map(np.ascontiguousarray, layers)):
        lr = torch.from_numpy(layer).permute(2, 0, 1)[None].to(device)  # (1, 3, h, w)
        with progress_bar("encoding", "tile", progress) as bar:
            counted = partial(_count_tiles, bar, on_tile, number, len(layers))
            encodings.append(render.encode(net, lr, on_tile=counted))
    return encodings


def _count_tiles(
    bar: Bar,
    on_tile: Callable[[int, int], object] | None,
    layer: int,
    layers: int,
    finished: int,
    total: int,
) -> None:
    """Show the finished tiles of a layer, and pass on those of all layers."""
    bar.total = total
    bar.update(finished - bar.n)
    if on_tile is not None:
        on_tile(layer * total + finished, layers * total)
