"""Conversion between stored pixels and the RGB in [0, 1] of the network: bit depth, grey and alpha."""

from collections.abc import Sequence

import numpy as np

MAX_OVERSHOOT = 0.5
"""Tolerance of floating point outside [0, 1]. It accepts filter overshoot, but not 0 to 255 or -1 to 1."""
FAINT = 1 / 16
"""A pixel with less than this fraction of the largest alpha nearby may have any colour: it is invisible."""
NEIGHBOURHOOD = 5
"""Side of the square, in pixels, in which `FAINT` compares alpha."""


def to_unit_planes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Split stored pixels into colour and alpha.

    Args:
        pixels: (H, W) or (H, W, C), C = 1 to 4; uint8, uint16, or floating point in [0, 1].

    Returns:
        The colour (H, W, 3) float32 in [0, 1], with grey repeated three times; the alpha (H, W) float32 in
        [0, 1] or None; and whether the picture was grey.

    Raises:
        ValueError: another shape or dtype, no pixels, or values outside [0, 1].
    """
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] > 4):
        raise ValueError(f"pixels have shape {pixels.shape}; give (H, W) or (H, W, C) with C from 1 to 4")
    planes = pixels.reshape(*pixels.shape[:2], -1)  # (H, W, C)
    unit = planes.astype(np.float32) / np.float32(_white(pixels.dtype))
    lowest, highest = unit.min(), unit.max()
    if not -MAX_OVERSHOOT <= lowest <= highest <= 1 + MAX_OVERSHOOT:  # also true for NaN
        raise ValueError(f"pixels are from {lowest:g} to {highest:g}; give floating point in [0, 1]")
    channels = unit.shape[2]
    alpha = unit[..., -1] if channels in (2, 4) else None
    was_grey = channels <= 2
    colour = np.repeat(unit[..., :1], 3, axis=2) if was_grey else unit[..., :3]
    return colour, alpha, was_grey


def from_unit_planes(
    colour: np.ndarray, alpha: np.ndarray | None, was_grey: bool, dtype: np.dtype
) -> np.ndarray:
    """Invert `to_unit_planes`; clip to [0, 1] and round to the bit depth.

    Args:
        colour: (H, W, 3); grey is its mean.
        alpha: (H, W) or None.
        was_grey: return one colour channel instead of three.
        dtype: uint8, uint16 or a floating point type.

    Returns:
        (H, W) grey, else (H, W, C).
    """
    planes = colour.mean(axis=2, keepdims=True) if was_grey else colour
    if alpha is not None:
        planes = np.concatenate([planes, alpha[..., None]], axis=2)  # (H, W, C)
    planes = np.clip(planes, 0, 1)
    if np.issubdtype(dtype, np.integer):
        planes = np.rint(planes * _white(dtype))
    planes = planes.astype(dtype)
    return planes[..., 0] if planes.shape[2] == 1 else planes


def to_layers(pixels: np.ndarray, *, keep_hidden_colour: bool = False) -> list[np.ndarray]:
    """Split stored pixels into RGB pictures that a network enlarges one by one.

    Transparent and faint pixels get the colour of the nearest visible pixel, so no halo appears at edges.
    Premultiplied colour would not help: the network is not linear, so its result cannot be divided by alpha.

    Args:
        pixels: see `to_unit_planes`.
        keep_hidden_colour: leave the colour of transparent pixels as it is.

    Returns:
        One or two (H, W, 3) float32 in [0, 1]: the colour, and the alpha repeated three times unless the
        picture is opaque.
    """
    colour, alpha, _ = to_unit_planes(pixels)
    if alpha is None or (alpha == 1).all():
        return [colour]
    layers = [colour, np.repeat(alpha[..., None], 3, axis=2)]
    if keep_hidden_colour:
        return layers
    from scipy.ndimage import maximum_filter  # slow to import, and opaque pictures need none

    visible = (alpha > 0) & (alpha >= FAINT * maximum_filter(alpha, NEIGHBOURHOOD))
    return [_fill_invisible(colour, visible), layers[1]]


def from_layers(
    layers: Sequence[np.ndarray], *, like: np.ndarray, keep_hidden_colour: bool = False
) -> np.ndarray:
    """Invert `to_layers` for enlarged layers, or for the same rows of each.

    The colour is black where alpha rounds to 0, unless `keep_hidden_colour` is set. Floating point alpha is
    rounded like 16 bits for this.

    Args:
        layers: one or two (H', W', 3).
        like: the argument of `to_layers`.
        keep_hidden_colour: as in `to_layers`.

    Returns:
        (H', W') or (H', W', C), of the dtype and channels of `like`.

    Raises:
        ValueError: layers of different sizes.
    """
    if any(layer.shape != layers[0].shape for layer in layers):
        raise ValueError(f"layers have different shapes: {[layer.shape for layer in layers]}")
    channels = like.shape[2] if like.ndim == 3 else 1
    colour, alpha = layers[0], None
    if len(layers) == 2:
        alpha = np.clip(layers[1].mean(axis=2), 0, 1)
        levels = _white(like.dtype) if np.issubdtype(like.dtype, np.integer) else _white(np.dtype(np.uint16))
        if not keep_hidden_colour:
            colour = np.where(alpha[..., None] > 0.5 / levels, colour, 0)
    elif channels in (2, 4):
        alpha = np.ones(colour.shape[:2], np.float32)
    pixels = from_unit_planes(colour, alpha, channels <= 2, like.dtype)
    return pixels.reshape(*pixels.shape[:2], *like.shape[2:])  # keeps (H', W', 1)


def divided(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return colour (H, W, C) that was stored multiplied by alpha (H, W, 1)."""
    white = float(np.iinfo(colour.dtype).max)
    straight = colour * (white / np.maximum(alpha, 1))
    return np.rint(np.minimum(straight, white)).astype(colour.dtype)


def _fill_invisible(colour: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Replace the colour (H, W, 3) of invisible pixels by that of the nearest visible pixel."""
    if not visible.any():
        return np.zeros_like(colour)
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~visible, return_distances=False, return_indices=True)  # (2, H, W)
    assert nearest is not None  # return_indices=True
    return colour[tuple(nearest)]


def _white(dtype: np.dtype) -> float:
    """Return the value of white in a dtype."""
    if dtype.newbyteorder("=") in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    if np.issubdtype(dtype, np.floating):
        return 1.0
    raise ValueError(f"pixels are {dtype}; give uint8, uint16, or floating point in [0, 1]")
