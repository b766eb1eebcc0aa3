"""Rendered images and expert maps as pixels of 8 bits per channel, and saved as PNG files."""

from pathlib import Path

import numpy as np
from torch import Tensor

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.metrics.toolbox_image import toolbox_image
from moeisr_plugin.pictures import Picture, write_picture


def save_picture(stem: Path, picture: Tensor) -> None:
    """Write RGB (1, 3, H, W) in [0, 1], clamped and rounded, to `stem`.png. Create its folder if missing."""
    _write(f"{stem}.png", picture_as_rgb(picture))


def save_experts(stem: Path, net: ImplicitNetwork, encoding: Encoding) -> None:
    """Write the expert map to `stem`_experts.png if the network has two or more experts."""
    rgb = experts_as_rgb(net, encoding)
    if rgb is not None:
        _write(f"{stem}_experts.png", rgb)


def picture_as_rgb(picture: Tensor) -> np.ndarray:
    """Return RGB (1, 3, H, W) in [0, 1], clamped and rounded, as (H, W, 3) uint8."""
    return np.rint(toolbox_image(picture)[..., ::-1]).astype(np.uint8)


def experts_as_rgb(net: ImplicitNetwork, encoding: Encoding) -> np.ndarray | None:
    """Return the expert map as (h, w, 3) uint8, or None for a network with one expert."""
    if net.num_experts == 1:
        return None
    return render.colour_experts(render.expert_map(encoding)[0], net.num_experts).cpu().numpy()


def _write(path: str, rgb: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, Picture(np.ascontiguousarray(rgb)))
