"""LPIPS (Zhang et al., CVPR 2018), computed by the optional package of its authors."""

import importlib
from typing import Any

import numpy as np
import torch

from moeisr_plugin.metrics.psnr_ssim import TooSmallError

_SMALLEST = 31  # smallest side of an input of AlexNet


class LpipsDistance:
    """LPIPS with AlexNet on whole RGB images.

    Args:
        device: device of the network.

    Raises:
        ValueError: If the package lpips is not installed.
    """

    def __init__(self, device: torch.device) -> None:
        try:
            lpips: Any = importlib.import_module("lpips")
        except ModuleNotFoundError:
            raise ValueError("LPIPS needs the package lpips; pip install lpips, or leave LPIPS out") from None
        self.device = device
        self.net = lpips.LPIPS(net="alex", verbose=False).to(device).eval()

    def __call__(self, img: np.ndarray, img2: np.ndarray) -> float:
        """Compute the distance of two images.

        Args:
            img: (H, W, 3) BGR in [0, 255], not rounded.
            img2: the other image, of the same shape.

        Returns:
            The distance, 0 for equal images.

        Raises:
            TooSmallError: If the images have fewer than 31x31 pixels.
        """
        h, w = img.shape[:2]
        if min(h, w) < _SMALLEST:
            raise TooSmallError(f"LPIPS needs {_SMALLEST}x{_SMALLEST} pixels; the picture has {h}x{w}")
        with torch.inference_mode():
            return self.net(self._input(img), self._input(img2)).item()

    def _input(self, picture: np.ndarray) -> torch.Tensor:
        rgb = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1))  # (3, H, W)
        return torch.from_numpy(rgb).float().to(self.device)[None] / 127.5 - 1
