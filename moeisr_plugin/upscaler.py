"""Enlarge pictures from Python: encode a picture once, and render it at any number of sizes."""

import os
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from moeisr_plugin import pictures, render
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.render.bounds import alpha_bounds, colour_bounds
from moeisr_plugin.render.casting import require_finite, supported_precision, to_precision

PILLOW_MODES = ("L", "LA", "RGB", "RGBA", "I;16")
"""Pillow modes whose pixel values are colours."""


class EncodedPicture:
    """An encoded picture, ready for rendering at any size.

    Args:
        net: the network that encoded the picture.
        image: the picture.
        encodings: encoding of the colour and, unless the picture is opaque, of the alpha.
        progress: whether to show a progress bar on stderr.
        keep_hidden_colour: whether transparent pixels keep their colour.
    """

    def __init__(
        self,
        net: ImplicitNetwork,
        image: np.ndarray,
        encodings: list[Encoding],
        *,
        progress: bool = False,
        keep_hidden_colour: bool = False,
    ) -> None:
        self._net = net
        self._progress = progress
        self._keep_hidden_colour = keep_hidden_colour
        self._image = image
        self._encodings = encodings

    @property
    def layers(self) -> int:
        """Number of decoded layers: the colour and, unless the picture is opaque, the alpha."""
        return len(self._encodings)

    def render(
        self, *, scale: float | tuple[float, float] | None = None, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Return the enlarged picture. See :meth:`Upscaler.__call__` for arguments and errors."""
        target = self._enlarged_size(scale, size)
        return pictures.join_bands(self._bands(target), like=self._image, size=target)

    def render_bands(
        self, *, scale: float | tuple[float, float] | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[np.ndarray]:
        """Render band by band from the top, with bounded memory.

        Yields:
            Bands (N, W) or (N, W, C) of N rows each.
        """
        return self._bands(self._enlarged_size(scale, size))

    def _enlarged_size(
        self, scale: float | tuple[float, float] | None, size: tuple[int, int] | None
    ) -> tuple[int, int]:
        height, width = self._image.shape[:2]
        return enlarged_size(height, width, scale=scale, size=size)

    def _bands(self, size: tuple[int, int]) -> Iterator[np.ndarray]:
        layers = [render.render_bands(self._net, encoding, size) for encoding in self._encodings]
        kinds = (colour_bounds, alpha_bounds)
        bounds = [kind(encoding.lr) for kind, encoding in zip(kinds, self._encodings, strict=False)]
        row = 0
        with _bar("rendering", "row", self._progress, total=size[0]) as bar:
            for bands in zip(*layers, strict=True):
                for band in bands:
                    require_finite(self._net, band)
                bounded = [
                    bound.clamp(band, first_row=row, size=size)
                    for bound, band in zip(bounds, bands, strict=True)
                ]
                yield self._pixels(bounded)
                row += bands[0].shape[2]
                bar.update(bands[0].shape[2])

    def _pixels(self, bands: Sequence[Tensor]) -> np.ndarray:
        """Combine bands of all layers, (1, 3, N, W) each, to pixels (N, W) or (N, W, C)."""
        planes = [band[0].permute(1, 2, 0) for band in bands]  # (N, W, 3) each
        if len(planes) == 1 and self._image.dtype == np.uint8 and self._image.shape[2:] == (3,):
            # Rounding on the device transfers a quarter of the bytes and saves work on the host.
            return planes[0].clamp(0, 1).mul_(255).round_().byte().contiguous().cpu().numpy()
        layers = [plane.cpu().numpy() for plane in planes]
        return pictures.from_layers(layers, like=self._image, keep_hidden_colour=self._keep_hidden_colour)

    def within_budget(self, budget: float) -> "EncodedPicture":
        """Return the same picture with a routing of the given cost. No training is needed.

        Args:
            budget: from 0 (shallowest expert for all pixels) to 1 (deepest expert for all pixels).

        Raises:
            ValueError: the budget is not between 0 and 1, or the network has only one expert.
        """
        encodings = [render.within_budget(self._net, encoding, budget) for encoding in self._encodings]
        return EncodedPicture(
            self._net,
            self._image,
            encodings,
            progress=self._progress,
            keep_hidden_colour=self._keep_hidden_colour,
        )

    def expert_map(self) -> np.ndarray | None:
        """Return the expert of each LR pixel as a colour, (h, w, 3) uint8. None for a single expert."""
        num_experts = self._net.num_experts
        if num_experts == 1:
            return None
        chosen = render.expert_map(self._encodings[0])[0]  # (h, w)
        return render.colour_experts(chosen, num_experts).cpu().numpy()


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
    ) -> np.ndarray:
        """Enlarge a picture.

        Args:
            image: (H, W) grey, or (H, W, C) with grey and alpha, RGB or RGBA. uint8, uint16, or float in
                [0, 1]. Pillow pictures and other inputs of `numpy.asarray` are accepted.
            scale: scale of both axes, or (y, x). The output has round(H * scale) rows.
            size: (height, width) of the output, instead of a scale.

        Returns:
            The enlarged picture, with the channels and type of the input.

        Raises:
            ValueError: not exactly one of scale and size is given, the output would be smaller than the
                input, the picture has another layout, or the network outputs NaN or Inf.
        """
        return self.encode(image).render(scale=scale, size=size)

    def encode(self, image: np.ndarray) -> EncodedPicture:
        """Encode a picture once, to render it many times."""
        if isinstance(image, Image.Image) and image.mode not in PILLOW_MODES:
            raise ValueError(f"the picture has mode {image.mode}; convert it to RGB or RGBA first")
        pixels = np.asarray(image)
        layers = encode_layers(
            self.net, pixels, progress=self.progress, keep_hidden_colour=self.keep_hidden_colour
        )
        return EncodedPicture(
            self.net,
            pixels,
            layers,
            progress=self.progress,
            keep_hidden_colour=self.keep_hidden_colour,
        )

    def expert_map(self, image: np.ndarray) -> np.ndarray | None:
        """Return the expert of each pixel of a picture. See :meth:`EncodedPicture.expert_map`."""
        return self.encode(image).expert_map()


def encode_layers(
    net: ImplicitNetwork, pixels: np.ndarray, *, progress: bool = False, keep_hidden_colour: bool = False
) -> list[Encoding]:
    """Encode the colour of a picture and, unless it is opaque, its alpha.

    Args:
        net: the network, on any device.
        pixels: as in :meth:`Upscaler.__call__`.
        progress: whether to show a progress bar for each layer.
        keep_hidden_colour: as in :class:`Upscaler`.
    """
    device = next(net.parameters()).device
    encodings = []
    layers = pictures.to_layers(pixels, keep_hidden_colour=keep_hidden_colour)
    for layer in map(np.ascontiguousarray, layers):
        lr = torch.from_numpy(layer).permute(2, 0, 1)[None].to(device)  # (1, 3, h, w)
        with _bar("encoding", "tile", progress) as bar:
            encodings.append(render.encode(net, lr, on_tile=partial(_show_tiles, bar)))
    return encodings


def _bar(stage: str, unit: str, shown: bool, *, total: int | None = None) -> tqdm:
    return tqdm(total=total, desc=stage, unit=unit, leave=False, disable=not shown)


def _show_tiles(bar: tqdm, finished: int, total: int) -> None:
    bar.total = total
    bar.update(finished - bar.n)


def enlarged_size(
    height: int,
    width: int,
    *,
    scale: float | tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Return the (height, width) of a picture after enlarging by a scale or to a size.

    Raises:
        ValueError: not exactly one of scale and size is given, it has a wrong form, or it does not enlarge.
    """
    if (scale is None) == (size is None):
        raise ValueError("give either scale or size")
    if size is None:
        scales = np.asarray(scale)
        if scales.dtype.kind not in "iuf" or scales.shape not in ((), (2,)) or not _enlarge(scales):
            raise ValueError(f"scale is {scale}; give a number of at least 1, or two for y and x")
        scale_y, scale_x = np.broadcast_to(scales, 2).tolist()
        return round(height * scale_y), round(width * scale_x)
    sides = np.asarray(size)
    if sides.dtype.kind not in "iu" or sides.shape != (2,):
        raise ValueError(f"size is {size}; give two whole numbers, height and width")
    if (sides < (height, width)).any():
        raise ValueError(f"size {size} is smaller than the picture, whose size is {(height, width)}")
    rows, columns = sides.tolist()
    return rows, columns


def _enlarge(scales: np.ndarray) -> bool:
    return bool((np.isfinite(scales) & (scales >= 1)).all())
