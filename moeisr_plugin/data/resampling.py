"""Conversion of stored pixels to [0, 1], and downsampling of HR to LR."""

import math

import numpy as np
from PIL import Image

from moeisr_plugin.data.grids import Size

DOWNSAMPLING = ("pil", "matlab")


def to_unit(picture: np.ndarray) -> np.ndarray:
    """Convert uint8 or uint16 of any shape to float32 in [0, 1]."""
    return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)


def downsample(picture: np.ndarray, size: Size, method: str = "pil") -> np.ndarray:
    """Downsample bicubically with antialiasing.

    The result of an 8-bit picture is rounded to 8 bits, as in the published protocols. The result of a 16-bit
    picture is not rounded.

    Args:
        picture: (H, W, 3) uint8 or uint16.
        size: height and width of the LR.
        method: "pil" (for training, and for tests without given LR), or "matlab" (`imresize`, which made the
            LR of the common benchmarks).

    Returns:
        (h, w, 3) float32 in [0, 1].
    """
    if method == "matlab":
        return _downsample_like_matlab(picture, size)
    if picture.dtype == np.uint8:
        small = Image.fromarray(picture).resize((size.width, size.height), Image.Resampling.BICUBIC)
        return to_unit(np.asarray(small))
    channels = [
        Image.fromarray(channel).resize((size.width, size.height), Image.Resampling.BICUBIC)
        for channel in to_unit(np.moveaxis(picture, 2, 0))
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=2).clip(0, 1)


def _downsample_like_matlab(picture: np.ndarray, size: Size) -> np.ndarray:
    """Downsample like `imresize` of MATLAB: rows first, edges replicated, 8 bits rounded after each axis.

    This reproduces the LR of Set5 and Set14 exactly. `imresize` of the toolbox mirrors the edges and does not
    round.
    """
    white = np.iinfo(picture.dtype).max
    lr = picture.astype(np.float64)
    for axis, n_lr in enumerate(size):
        weights = _bicubic_weights(lr.shape[axis], n_lr)
        lr = np.moveaxis(np.tensordot(weights, lr, axes=(1, axis)), 0, axis).clip(0, white)
        if picture.dtype == np.uint8:
            lr = np.floor(lr + 0.5)
    return (lr / white).astype(np.float32)


def _bicubic_weights(n_hr: int, n_lr: int) -> np.ndarray:
    """Return the weights (n_lr, n_hr) of the HR pixels in each LR pixel (Keys 1981, a = -1/2)."""
    scale = n_hr / n_lr
    reach = math.ceil(2 * scale)
    source = np.arange(-reach, n_hr + reach)
    centers = (np.arange(n_lr) + 0.5) * scale - 0.5
    d = np.abs(source - centers[:, None]) / scale  # (n_lr, sources)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    kernel = np.where(d <= 1, near, np.where(d <= 2, far, 0))
    weights = np.zeros((n_hr, n_lr))
    np.add.at(weights, source.clip(0, n_hr - 1), kernel.T)
    return weights.T / kernel.sum(1, keepdims=True)
