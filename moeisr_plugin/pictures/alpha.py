"""From stored pixels to the network's RGB in [0, 1] and back: depth, grey and alpha."""

from collections.abc import Sequence

import numpy as np

FAR_FROM_UNIT = 0.5
"""How far floating point may leave [0, 1]: filters overshoot by less, and 0 to 255 or -1 to 1 go beyond."""
FAINT = 1 / 16
"""Of the alpha nearby: with so little of it programs leave any colour in a pixel, which nobody sees."""
NEARBY = 5
"""Side of a square of pixels."""


def to_unit_planes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Splits stored pixels into what a network can enlarge.

    Args:
        pixels: (H, W) or (H, W, C), C = 1 to 4; uint8, uint16, or floating point in [0, 1].

    Returns:
        The colour (H, W, 3) float32 in [0, 1], grey three times over; the alpha (H, W) float32 in [0, 1] or
        None; and whether the picture was grey.

    Raises:
        ValueError: another shape or dtype, no pixel at all, or numbers that are not in [0, 1].
    """
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] > 4):
        raise ValueError(f"pixels have shape {pixels.shape}; give (H, W) or (H, W, C) with C from 1 to 4")
    planes = pixels.reshape(*pixels.shape[:2], -1)  # (H, W, C)
    unit = planes.astype(np.float32) / np.float32(_white(pixels.dtype))
    lowest, highest = unit.min(), unit.max()
    if not -FAR_FROM_UNIT <= lowest <= highest <= 1 + FAR_FROM_UNIT:  # nor if one is not a number
        raise ValueError(f"pixels are from {lowest:g} to {highest:g}; give floating point in [0, 1]")
    channels = unit.shape[2]
    alpha = unit[..., -1] if channels in (2, 4) else None
    was_grey = channels <= 2
    colour = np.repeat(unit[..., :1], 3, axis=2) if was_grey else unit[..., :3]
    return colour, alpha, was_grey


def from_unit_planes(
    colour: np.ndarray, alpha: np.ndarray | None, was_grey: bool, dtype: np.dtype
) -> np.ndarray:
    """The inverse of `to_unit_planes`, clipped to [0, 1] and rounded to the depth.

    Args:
        colour: (H, W, 3); its mean is taken for grey.
        alpha: (H, W) or None.
        was_grey: give one colour channel instead of three.
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


def to_layers(pixels: np.ndarray) -> list[np.ndarray]:
    """Splits stored pixels into pictures that a network which knows RGB alone can enlarge.

    Args:
        pixels: see `to_unit_planes`.

    Returns:
        One or two (H, W, 3) float32 in [0, 1]: the colour, and unless the picture is opaque the alpha, three
        times over. Transparent pixels, and the faint rim of others, have the colour of the nearest visible
        one then, so that an edge has its own colour on both sides. Multiplied by the alpha it could not be
        told from it again: a network does not enlarge a product to the product.
    """
    colour, alpha, _ = to_unit_planes(pixels)
    if alpha is None or (alpha == 1).all():
        return [colour]
    from scipy.ndimage import maximum_filter  # slow to import, and opaque pictures need none

    visible = (alpha > 0) & (alpha >= FAINT * maximum_filter(alpha, NEARBY))
    return [_seen_everywhere(colour, visible), np.repeat(alpha[..., None], 3, axis=2)]


def from_layers(layers: Sequence[np.ndarray], *, like: np.ndarray) -> np.ndarray:
    """The inverse of `to_layers` for layers that were enlarged, or for the same rows of each.

    Where the alpha rounds to nothing, that of floating point as with 16 bits, the colour is black.

    Args:
        layers: one or two (H', W', 3).
        like: the pixels the layers were made from.

    Returns:
        (H', W') or (H', W', C), of the dtype and channels of `like`.

    Raises:
        ValueError: layers of different sizes.
    """
    if any(layer.shape != layers[0].shape for layer in layers):
        raise ValueError(f"layers of shapes {[layer.shape for layer in layers]} are not of one picture")
    channels = like.shape[2] if like.ndim == 3 else 1
    colour, alpha = layers[0], None
    if len(layers) == 2:
        alpha = np.clip(layers[1].mean(axis=2), 0, 1)
        levels = _white(like.dtype) if np.issubdtype(like.dtype, np.integer) else _white(np.dtype(np.uint16))
        colour = np.where(alpha[..., None] > 0.5 / levels, colour, 0)
    elif channels in (2, 4):
        alpha = np.ones(colour.shape[:2], np.float32)
    pixels = from_unit_planes(colour, alpha, channels <= 2, like.dtype)
    return pixels.reshape(*pixels.shape[:2], *like.shape[2:])  # (H', W', 1) stays three-dimensional


def _seen_everywhere(colour: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The colour (H, W, 3), and where it is not visible (H, W), that of the nearest pixel where it is."""
    if not visible.any():
        return np.zeros_like(colour)
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~visible, return_distances=False, return_indices=True)  # (2, H, W)
    assert nearest is not None  # as asked for
    return colour[tuple(nearest)]


def _white(dtype: np.dtype) -> float:
    """The value of full intensity."""
    if dtype.newbyteorder("=") in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    if np.issubdtype(dtype, np.floating):
        return 1.0
    raise ValueError(f"pixels are {dtype}; give uint8, uint16, or floating point in [0, 1]")
