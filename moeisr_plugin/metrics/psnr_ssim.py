"""PSNR and SSIM by a named protocol. Values of different protocols cannot be compared.

Two protocols are those of LIIF (Chen et al., CVPR 2021), which LTE and MoEISR follow. Values are clipped, but
not rounded to 8 bits. The third is that of the toolbox's tests and of its ModelZoo, which rounds.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_LUMA_BGR = np.array([25.064, 129.057, 65.738]) / 256
_LUMA_OFFSET = 16
LUMA_RANGE = float(_LUMA_BGR.sum())
"""Range of the luma of RGB, as a share of the range of its channels."""
_SSIM_WINDOW = 11


class TooSmallError(ValueError):
    """An image has fewer pixels than a metric needs."""


class Protocol(NamedTuple):
    """A protocol for comparing two images.

    Attributes:
        luma: compare Y of YCbCr instead of RGB. Grey images are compared directly.
        margin: pixels excluded on each side, in addition to the scale rounded up.
        rounded: round to 8 bits first.
    """

    luma: bool
    margin: int
    rounded: bool = False


PROTOCOLS = {
    "benchmark": Protocol(luma=True, margin=0),  # Set5, Set14, B100, Urban100
    "div2k": Protocol(luma=False, margin=6),
    "basicsr": Protocol(
        luma=False, margin=0, rounded=True
    ),  # the toolbox's options/test and docs/ModelZoo.md
}


def calculate_psnr_protocol(
    img: np.ndarray,
    img2: np.ndarray,
    *,
    protocol: str,
    scale: float | Sequence[float],
    quantise: bool = False,
    **kwargs,
) -> float:
    """Compute the PSNR by a published protocol.

    Args:
        img: (H, W), (H, W, 1) or (H, W, 3) BGR in [0, 255], of any dtype. It is clipped to this range.
        img2: the other image, of the same shape.
        protocol: a key of `PROTOCOLS`. ``benchmark`` compares luma and excludes a border as wide as the
            scale. ``div2k`` compares RGB and excludes a border wider by 6 pixels. ``basicsr`` compares RGB
            rounded to 8 bits and excludes a border as wide as the scale. Widths are rounded up.
        scale: the scale, or (vertical, horizontal) scales.
        quantise: round to 8 bits first, as if the image had been saved.

    Returns:
        PSNR in dB; infinity for equal images.

    Raises:
        ValueError: If the protocol is unknown or the shapes differ.
        TooSmallError: If the images have no pixels inside the border.
    """
    compared, compared2 = _compared_parts(img, img2, protocol, scale, quantise)
    mse = np.mean((compared - compared2) ** 2)
    return math.inf if mse == 0 else float(10 * np.log10(255**2 / mse))


def calculate_ssim_protocol(
    img: np.ndarray,
    img2: np.ndarray,
    *,
    protocol: str,
    scale: float | Sequence[float],
    quantise: bool = False,
    **kwargs,
) -> float:
    """Compute the SSIM by a published protocol (Wang et al., 2004: 11x11 Gaussian window, sigma 1.5).

    The arguments are those of `calculate_psnr_protocol`.

    Returns:
        SSIM, averaged over channels; 1 for equal images.

    Raises:
        ValueError: If the protocol is unknown or the shapes differ.
        TooSmallError: If the images have fewer than 11x11 pixels inside the border.
    """
    from basicsr.metrics import calculate_ssim  # PSNR needs no toolbox

    compared, compared2 = _compared_parts(img, img2, protocol, scale, quantise)
    if min(compared.shape[:2]) < _SSIM_WINDOW:
        h, w = compared.shape[:2]
        raise TooSmallError(
            f"SSIM needs {_SSIM_WINDOW}x{_SSIM_WINDOW} pixels; protocol {protocol} leaves {h}x{w}"
        )
    return float(calculate_ssim(compared, compared2, crop_border=0))


def _compared_parts(
    img: np.ndarray, img2: np.ndarray, protocol: str, scale: float | Sequence[float], quantise: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the channels and the area that a protocol compares, each (H', W', C) in float64."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}; give one of {', '.join(PROTOCOLS)}")
    if img.shape != img2.shape:
        raise ValueError(f"images have shapes {img.shape} and {img2.shape}; give two of the same shape")
    luma, margin, rounded = PROTOCOLS[protocol]
    # The tolerance prevents rounding up because of rounding errors in a scale computed from sizes.
    top, left = (math.ceil(s - 1e-6) + margin for s in np.broadcast_to(scale, 2))
    height, width = img.shape[:2]
    if height <= 2 * top or width <= 2 * left:
        raise TooSmallError(
            f"an image of {height}x{width} has no pixels inside the border: protocol {protocol} at scale "
            f"{scale} excludes {top} rows and {left} columns on each side"
        )

    def part(picture: np.ndarray) -> np.ndarray:
        picture = picture.reshape(height, width, -1)[top : height - top, left : width - left]  # (H', W', C)
        picture = picture.astype(np.float64).clip(0, 255)
        if quantise or rounded:
            picture = np.rint(picture)
        if luma and picture.shape[2] == 3:
            picture = (picture @ _LUMA_BGR + _LUMA_OFFSET)[..., None]  # (H', W', 1)
        return picture

    return part(img), part(img2)
