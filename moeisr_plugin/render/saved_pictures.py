"""Save rendered images and expert maps as PNG files with 8 bits per channel."""

from pathlib import Path

import numpy as np
from torch import Tensor

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.metrics.toolbox_image import toolbox_image
from moeisr_plugin.pictures import Picture, write_picture


def save_picture(stem: Path, picture: Tensor) -> None:
    """Write RGB (1, 3, H, W) in [0, 1], clamped and rounded, to `stem`.png. Create its folder if missing."""
    _write(f"{stem}.png", np.rint(toolbox_image(picture)[..., ::-1]).astype(np.uint8))


def save_experts(stem: Path, net: ImplicitNetwork, encoding: Encoding) -> None:
    """Write the expert map to `stem`_experts.png if the network has two or more experts."""
    if net.num_experts > 1:
        colours = render.colour_experts(render.expert_map(encoding)[0], net.num_experts)  # (h, w, 3)
        _write(f"{stem}_experts.png", colours.cpu().numpy())


def _write(path: str, rgb: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, Picture(np.ascontiguousarray(rgb)))
