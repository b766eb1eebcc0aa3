"""Enlarge pictures with trained weights: encode once, render at as many sizes as one likes."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from moeisr_plugin import pictures, render
from moeisr_plugin.archs.implicit_sr import Encoding, ImplicitSR
from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.render.casting import require_numbers, to_precision

PILLOW_MODES = ("L", "LA", "RGB", "RGBA", "I;16")
"""Of Pillow's pictures, those whose numbers are colours, and nothing else."""


class EncodedPicture:
    """A picture that was encoded, ready to be rendered.

    Args:
        net: the network that encoded it.
        image: the picture.
        encodings: of its layers, the colour and, unless it is opaque, the alpha.
        progress: show a progress bar where rendering takes more than seconds.
    """

    def __init__(
        self, net: ImplicitSR, image: np.ndarray, encodings: list[Encoding], *, progress: bool = False
    ) -> None:
        self._net = net
        self._progress = progress
        self._image = image
        self._encodings = encodings

    @property
    def layers(self) -> int:
        """How many are decoded: the colour and, unless the picture is opaque, the alpha."""
        return len(self._encodings)

    def render(
        self, *, scale: float | tuple[float, float] | None = None, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        """The picture enlarged; arguments, result and errors as of :meth:`Upscaler.__call__`."""
        target = self._output_size(scale, size)
        return pictures.join_bands(self._bands(target), like=self._image, size=target)

    def render_bands(
        self, *, scale: float | tuple[float, float] | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[np.ndarray]:
        """The same, band by band from the top, so that the enlarged picture need not fit into memory.

        Yields:
            (N, W) or (N, W, C), for an N that bounds memory.
        """
        return self._bands(self._output_size(scale, size))

    def _output_size(
        self, scale: float | tuple[float, float] | None, size: tuple[int, int] | None
    ) -> tuple[int, int]:
        height, width = self._image.shape[:2]
        return output_size(height, width, scale=scale, size=size)

    def _bands(self, size: tuple[int, int]) -> Iterator[np.ndarray]:
        layers = [render.render_bands(self._net, encoding, size) for encoding in self._encodings]
        with tqdm(total=size[0], unit="row", delay=3, leave=False, disable=not self._progress) as bar:
            for bands in zip(*layers, strict=True):
                for band in bands:
                    require_numbers(self._net, band)
                yield self._pixels(bands)
                bar.update(bands[0].shape[2])

    def _pixels(self, bands: Sequence[Tensor]) -> np.ndarray:
        """The rows (N, W) or (N, W, C) of the picture that layers (1, 3, N, W) make up."""
        planes = [band[0].permute(1, 2, 0).float() for band in bands]  # (N, W, 3) each
        if len(planes) == 1 and self._image.dtype == np.uint8 and self._image.shape[2:] == (3,):
            # Rounded where it was rendered: of a GPU's frame a quarter of the bytes, and none of the work, is
            # the host's.
            return planes[0].clamp(0, 1).mul_(255).round_().byte().contiguous().cpu().numpy()
        return pictures.from_layers([plane.cpu().numpy() for plane in planes], like=self._image)

    def within_budget(self, budget: float) -> "EncodedPicture":
        """The same picture, routed so that decoding costs what it may; without training anew.

        Args:
            budget: from 0, every pixel by the shallowest expert, to 1, every one by the deepest.

        Raises:
            ValueError: if the budget is not between 0 and 1, or the network has only one expert.
        """
        encodings = [render.within_budget(self._net, encoding, budget) for encoding in self._encodings]
        return EncodedPicture(self._net, self._image, encodings, progress=self._progress)

    def expert_map(self) -> np.ndarray | None:
        """The expert of each pixel in colours, (h, w, 3) uint8; None if the network has only one."""
        num_experts = len(self._net.experts)
        if num_experts == 1:
            return None
        chosen = render.expert_map(self._encodings[0])[0]  # (h, w)
        return render.colour_experts(chosen, num_experts).cpu().numpy()


class Upscaler:
    """Enlarges pictures to any scale or size.

    Args:
        weights: a checkpoint of one of the plugin's networks, or the name of one that comes with the
            package; by default such a one.
        device: where to compute; a GPU if there is one, by default.
        precision: ``float32``, which is exact, ``bfloat16`` or ``float16``, which are faster where the
            hardware computes in them, or ``tf32``, which on NVIDIA GPUs rounds factors of float32, and
            elsewhere is float32.
        progress: show a progress bar where rendering takes more than seconds.

    Raises:
        CheckpointError: if the weights cannot be used.
        ValueError: if the precision is none of the four.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        device: str | torch.device | None = None,
        precision: str = "float32",
        progress: bool = False,
    ) -> None:
        self.progress = progress
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.net = to_precision(network_from(weights or DEFAULT), precision).to(self.device)

    def __call__(
        self,
        image: np.ndarray,
        *,
        scale: float | tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Enlarge a picture.

        Args:
            image: (H, W) grey or (H, W, C): grey with alpha, RGB or RGBA; uint8, uint16, or float in [0, 1];
                or what numpy makes such an array of, as of Pillow's pictures of these kinds.
            scale: of both axes, or (y, x). The output has round(H * scale) rows.
            size: (height, width) of the output, instead of a scale.

        Returns:
            The enlarged picture, with the channels and the type of the given one.

        Raises:
            ValueError: if not exactly one of scale and size is given, it does not enlarge, the picture is of
                another layout, or the network answers with NaN or Inf.
        """
        return self.encode(image).render(scale=scale, size=size)

    def encode(self, image: np.ndarray) -> EncodedPicture:
        """Encode a picture once, to render it many times."""
        if isinstance(image, Image.Image) and image.mode not in PILLOW_MODES:
            raise ValueError(f"a picture of mode {image.mode}; convert it to RGB or RGBA first")
        pixels = np.asarray(image)
        return EncodedPicture(self.net, pixels, encode_layers(self.net, pixels), progress=self.progress)

    def expert_map(self, image: np.ndarray) -> np.ndarray | None:
        """The expert of each pixel of a picture; see :meth:`EncodedPicture.expert_map`."""
        return self.encode(image).expert_map()


def encode_layers(net: ImplicitSR, pixels: np.ndarray) -> list[Encoding]:
    """Encodes what is enlarged of a picture: the colour and, unless it is opaque, the alpha.

    Args:
        net: the network, wherever it is.
        pixels: as of :meth:`Upscaler.__call__`.
    """
    device = next(net.parameters()).device
    layers = (np.ascontiguousarray(layer) for layer in pictures.to_layers(pixels))
    return [
        render.encode(net, torch.from_numpy(layer).permute(2, 0, 1)[None].to(device))  # (1, 3, h, w)
        for layer in layers
    ]


def output_size(
    height: int,
    width: int,
    *,
    scale: float | tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """The size of a picture enlarged by a scale, or to a size.

    Raises:
        ValueError: if not exactly one of the two is given, it is of another form, or it does not enlarge.
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
        raise ValueError(f"size {size} is smaller than the picture, which is {(height, width)}")
    rows, columns = sides.tolist()
    return rows, columns


def _enlarge(scales: np.ndarray) -> bool:
    return bool((np.isfinite(scales) & (scales >= 1)).all())
