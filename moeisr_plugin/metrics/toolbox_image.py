"""Conversion of network outputs to the image format of the toolbox's metrics."""

import numpy as np
from torch import Tensor


def toolbox_image(picture: Tensor) -> np.ndarray:
    """Convert RGB (1, 3, H, W) in [0, 1] to BGR (H, W, 3) in [0, 255], float64, clamped, not rounded."""
    return picture[0].double().clamp(0, 1).mul(255).flip(0).permute(1, 2, 0).cpu().numpy()
