"""From the networks' pictures to what the toolbox's metrics take."""

import numpy as np
from torch import Tensor


def toolbox_image(picture: Tensor) -> np.ndarray:
    """From (1, 3, H, W) RGB in [0, 1] to (H, W, 3) BGR in [0, 255], float64, clamped, not rounded."""
    return picture[0].double().clamp(0, 1).mul(255).flip(0).permute(1, 2, 0).cpu().numpy()
