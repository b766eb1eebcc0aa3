"""LPIPS (Zhang et al., CVPR 2018), by the package of its authors where that is installed."""

import importlib
from typing import Any

import numpy as np
import torch

from moeisr_plugin.metrics.psnr_ssim import TooSmallError

_SMALLEST = 31  # that AlexNet reduces to something


class LpipsDistance:
    """LPIPS with AlexNet, of whole pictures in RGB.

    Args:
        device: where to compute.

    Raises:
        ValueError: the package is not installed.
    """

    def __init__(self, device: torch.device) -> None:
        try:
            lpips: Any = importlib.import_module("lpips")
        except ModuleNotFoundError:
            raise ValueError("LPIPS needs the package lpips; pip install lpips, or leave LPIPS out") from None
        self.device = device
        self.net = lpips.LPIPS(net="alex", verbose=False).to(device).eval()

    def __call__(self, img: np.ndarray, img2: np.ndarray) -> float:
        """The distance of two pictures (H, W, 3) BGR in [0, 255], not rounded; 0 for equal ones.

        Raises:
            TooSmallError: fewer than 31x31 pixels.
        """
        h, w = img.shape[:2]
        if min(h, w) < _SMALLEST:
            raise TooSmallError(f"LPIPS needs {_SMALLEST}x{_SMALLEST} pixels; the picture has {h}x{w}")
        with torch.inference_mode():
            return self.net(self._input(img), self._input(img2)).item()

    def _input(self, picture: np.ndarray) -> torch.Tensor:
        rgb = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1))  # (3, H, W)
        return torch.from_numpy(rgb).float().to(self.device)[None] / 127.5 - 1
