"""Refuse pictures that need more memory than there is, before they are decoded or encoded."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moeisr_plugin.pictures import Header, Picture, picture_format, writes_in_bands
from moeisr_plugin.utils.available_memory import available_memory
from moeisr_plugin.utils.shortage import in_bytes

if TYPE_CHECKING:
    from moeisr_plugin.render.window import Window
    from moeisr_plugin.upscaler import Upscaler

_COPIES = {"jpg": 2, "webp": 4}
"""Copies of the output that the encoder of a format holds at once, at least; 1 for others."""


def check_memory_of_input(header: Header, upscaler: "Upscaler") -> None:
    """Check the memory of decoding and encoding, before decoding.

    Raises:
        ValueError: less memory is available than the picture needs.
    """
    size = (header.height, header.width)
    decoded = math.prod(size) * ((1 if header.is_grey else 3) + header.has_alpha)
    _check(size, None, decoded, upscaler, layers=1)


def check_memory_of_output(
    output: Path,
    picture: Picture,
    size: tuple[int, int],
    upscaler: "Upscaler",
    window: "Window | None" = None,
) -> None:
    """Check the memory of encoding, rendering and writing, before encoding.

    Args:
        output: the output; its suffix is the format.
        picture: the input.
        size: (H, W) of the output as stored.
        upscaler: the network and its device.
        window: the part that the output shows. None for the whole picture.

    Raises:
        ValueError: less memory is available than the picture needs.
    """
    written = _of_writing(output, picture, size)
    _check(_lr_size(picture), size, written, upscaler, layers=layers_of(picture), window=window)


def check_memory_of_clip(lr_size: tuple[int, int], size: tuple[int, int], upscaler: "Upscaler") -> None:
    """Check the memory of a frame of a video and of the tiles of the frame before.

    Args:
        lr_size: (h, w) of the input.
        size: (H, W) of the output.
        upscaler: the network and its device.

    Raises:
        ValueError: less memory is available than the frame needs.
    """
    _check(lr_size, size, 0, upscaler, layers=2)


def memory_of_output(
    output: Path,
    picture: Picture,
    size: tuple[int, int],
    upscaler: "Upscaler",
    window: "Window | None" = None,
) -> int:
    """Return the bytes that `check_memory_of_output` compares with the available memory."""
    part = () if window is None else (window,)
    of_network, _ = _of_network(_lr_size(picture), size, upscaler, layers_of(picture), *part)
    return of_network + _of_writing(output, picture, size)


def layers_of(picture: Picture) -> int:
    """Return the number of layers that are enlarged: the colour, and the alpha unless it is opaque."""
    return 1 + (picture.has_alpha and not _is_opaque(picture))


def _is_opaque(picture: Picture) -> bool:
    return bool((picture.pixels[..., -1] == np.iinfo(picture.pixels.dtype).max).all())


def _lr_size(picture: Picture) -> tuple[int, int]:
    return picture.pixels.shape[0], picture.pixels.shape[1]


def _of_writing(output: Path, picture: Picture, size: tuple[int, int]) -> int:
    """Return the bytes of the whole output, if its format is not written band by band."""
    if writes_in_bands(output):
        return 0
    return math.prod(size) * picture.pixels[0, 0].nbytes * _COPIES.get(picture_format(output), 1)


def _check(
    lr_size: tuple[int, int],
    size: tuple[int, int] | None,
    pictures: int,
    upscaler: "Upscaler",
    *,
    layers: int,
    window: "Window | None" = None,
) -> None:
    """Check the memory for pictures of the given bytes and for the network, if that computes on the CPU."""
    available = available_memory()
    part = () if window is None else (window,)
    needed, with_bfloat16 = (pictures + each for each in _of_network(lr_size, size, upscaler, layers, *part))
    if available is None or needed <= available:
        return
    sizes = "x".join(map(str, reversed(lr_size)))
    if size is not None:
        sizes += f" to {'x'.join(map(str, reversed(size)))}"
    remedies = ["enlarge parts of it one by one, or close other programs"]
    if with_bfloat16 <= available:
        remedies.insert(0, "add --precision bfloat16")
    if pictures and size is not None and needed - pictures <= available:
        remedies.insert(0, "choose .png or .tiff")
    if size is not None:
        remedies.insert(0, "choose a smaller output")
    raise ValueError(
        f"{sizes} pixels need about {in_bytes(needed)} of memory, but {in_bytes(available)} are "
        f"available; {', '.join(remedies)}"
    )


def _of_network(
    lr_size: tuple[int, int],
    size: tuple[int, int] | None,
    upscaler: "Upscaler",
    layers: int,
    window: "Window | None" = None,
) -> tuple[int, int]:
    """Return the bytes that encoding and rendering need in host memory, and those with bfloat16."""
    import torch  # not needed for parsing

    from moeisr_plugin.render.memory_estimate import band_memory, encoding_memory
    from moeisr_plugin.render.window import view_of

    if upscaler.device.type != "cpu":
        return 0, 0
    bands = 0
    if size is not None:
        view = view_of(lr_size, size, window)
        shown = (
            math.ceil(view.rows.stop - view.rows.start),
            math.ceil(view.columns.stop - view.columns.start),
        )
        bands = band_memory(upscaler.net, shown, view.finer().size)
    encodings = [encoding_memory(upscaler.net, lr_size, dtype=dtype) for dtype in (None, torch.bfloat16)]
    return layers * encodings[0] + bands, layers * encodings[1] + bands
