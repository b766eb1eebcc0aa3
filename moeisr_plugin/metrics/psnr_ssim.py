"""PSNR and SSIM by a named protocol, because numbers by different ones cannot be compared.

The protocols are those of LIIF (Chen et al., CVPR 2021), which LTE and MoEISR follow: values are clipped,
not rounded to 8 bits. The toolbox's own metrics compare what was rounded, take luma by other coefficients and
leave the border to the user.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_LUMA_BGR = np.array([25.064, 129.057, 65.738]) / 256
_LUMA_OFFSET = 16
_SSIM_WINDOW = 11


class TooSmallError(ValueError):
    """A picture has fewer pixels than a metric needs."""


class Protocol(NamedTuple):
    """How two pictures are compared."""

    luma: bool  # Y of YCbCr instead of RGB; grey pictures are compared as they are
    margin: int  # border left out on each side, beyond the scale rounded up


PROTOCOLS = {
    "benchmark": Protocol(luma=True, margin=0),  # Set5, Set14, B100, Urban100
    "div2k": Protocol(luma=False, margin=6),
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
    """PSNR by a published protocol.

    Args:
        img: (H, W), (H, W, 1) or (H, W, 3) BGR in [0, 255], of any dtype; clipped to the range.
        img2: the other picture, of the same shape.
        protocol: a key of `PROTOCOLS`. benchmark: luma, without a border as wide as the scale. div2k: RGB,
            without a border 6 pixels wider than that. Widths are rounded up.
        scale: a number, or (vertical, horizontal).
        quantise: round to 8 bits first, as after saving the picture.

    Returns:
        PSNR in dB; infinity for equal pictures.

    Raises:
        ValueError: an unknown protocol, or shapes that differ.
        TooSmallError: pictures smaller than the border.
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
    """SSIM of what PSNR compares by the same protocol (Wang et al., 2004: 11x11 Gaussian window, sigma 1.5).

    Args:
        img, img2, protocol, scale, quantise: as in `calculate_psnr_protocol`.

    Returns:
        SSIM, averaged over channels; 1 for equal pictures.

    Raises:
        ValueError: as in `calculate_psnr_protocol`.
        TooSmallError: fewer than 11x11 pixels within the border.
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
    """The channels and the area a protocol compares, (H', W', C) float64."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}; give one of {', '.join(PROTOCOLS)}")
    if img.shape != img2.shape:
        raise ValueError(f"pictures of shapes {img.shape} and {img2.shape} cannot be compared")
    luma, margin = PROTOCOLS[protocol]
    # Less a hair, so that a scale worked out from sizes is not rounded up for its last bit.
    top, left = (math.ceil(s - 1e-6) + margin for s in np.broadcast_to(scale, 2))
    height, width = img.shape[:2]
    if height <= 2 * top or width <= 2 * left:
        raise TooSmallError(
            f"a picture of {height}x{width} is nothing but border: protocol {protocol} at scale {scale} "
            f"leaves out {top} rows and {left} columns on each side"
        )

    def part(picture: np.ndarray) -> np.ndarray:
        picture = picture.reshape(height, width, -1)[top : height - top, left : width - left]  # (H', W', C)
        picture = picture.astype(np.float64).clip(0, 255)
        if quantise:
            picture = np.rint(picture)
        if luma and picture.shape[2] == 3:
            picture = (picture @ _LUMA_BGR + _LUMA_OFFSET)[..., None]  # (H', W', 1)
        return picture

    return part(img), part(img2)
