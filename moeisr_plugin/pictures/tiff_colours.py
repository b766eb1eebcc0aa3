"""Colours of TIFF samples: grey or RGB of 8 or 16 bits, with or without alpha."""

import numpy as np
import tifffile
from tifffile import EXTRASAMPLE, PHOTOMETRIC

from .alpha import divided
from .colour import cmyk_to_srgb, lab_to_srgb
from .tiff_layout import COLOURS, GREY, LAB, alpha_sample

MOST_PLAIN_BITS = 8


def to_grey_or_rgb(page: tifffile.TiffPage, samples: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Return (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), as in `Picture.pixels`, from samples (H, W, S)."""
    kind, colours = page.photometric, COLOURS[page.photometric]
    stored = samples[..., :colours]
    alpha_kind = alpha_sample(page)
    alpha = None if alpha_kind is None else _scaled(samples[..., colours : colours + 1], page.bitspersample)
    if page.colormap is not None and kind == PHOTOMETRIC.PALETTE:
        colour = _look_up(page.colormap, stored[..., 0])
        alpha = None if alpha is None else _eight_bits(alpha)
    elif kind == PHOTOMETRIC.SEPARATED:
        colour = cmyk_to_srgb(_eight_bits(stored), profile)
        alpha = None if alpha is None else _eight_bits(alpha)
    elif kind in LAB:
        colour = lab_to_srgb(_eight_bit_lab(stored, is_signed=kind == PHOTOMETRIC.CIELAB), profile)
        alpha = None if alpha is None else _eight_bits(alpha)
    else:
        colour = _scaled(stored, page.bitspersample)
    if kind == PHOTOMETRIC.MINISWHITE:
        colour = np.iinfo(colour.dtype).max - colour
    if alpha is None:
        return np.ascontiguousarray(colour[..., 0] if kind in GREY else colour)
    if alpha_kind == EXTRASAMPLE.ASSOCALPHA:
        colour = divided(colour, alpha)
    return np.concatenate([colour, alpha], axis=2)


def _scaled(samples: np.ndarray, bits: int) -> np.ndarray:
    """Return samples of 1 to 8 bits as uint8, of more as uint16, white being the largest value."""
    dtype = np.uint8 if bits <= MOST_PLAIN_BITS else np.uint16
    if bits in (8, 16):
        return samples.astype(dtype, copy=False)
    return np.rint(samples * (np.iinfo(dtype).max / (2**bits - 1))).astype(dtype)


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    """Return uint8 from uint8 or uint16."""
    return samples if samples.dtype == np.uint8 else np.rint(samples / 257).astype(np.uint8)


def _eight_bit_lab(samples: np.ndarray, *, is_signed: bool) -> np.ndarray:
    """Return Lab (H, W, 3) as bytes, a* and b* in two's complement.

    Args:
        samples: (H, W, 3), 8 or 16 bits.
        is_signed: a* and b* are stored in two's complement (CIELAB), not with an offset (ICCLAB).
    """
    bits = 8 * samples.dtype.itemsize
    unsigned = samples.view(f"u{samples.dtype.itemsize}") if samples.dtype.kind == "i" else samples
    lightness = _eight_bits(unsigned[..., :1])
    chroma = unsigned[..., 1:].astype(np.int32)
    middle = 2 ** (bits - 1)
    chroma = (chroma + middle) % (2 * middle) - middle if is_signed else chroma - middle
    if bits == 16:
        chroma = np.clip(np.rint(chroma / 256), -128, 127)
    return np.concatenate([lightness, chroma.astype(np.int8).view(np.uint8)], axis=2)


def _look_up(colour_map: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return RGB (H, W, 3) uint8 of palette indices (H, W).

    A map without any value above 255 holds 8-bit values, which some writers store against the specification.
    """
    table = colour_map if colour_map.max() <= 255 else colour_map >> 8  # (3, N)
    return table.astype(np.uint8).T[indices.astype(np.intp)]
