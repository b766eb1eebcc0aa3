"""Sizes of matching LR and HR pictures at a scale."""

import math
from typing import Any, NamedTuple

LR_STEPS = (1, 2, 5, 10, 20)
"""LR pixels to whose multiples test sets are cropped at scales that are not integers (ArbSR, ICCV 2021)."""


class TooFewPixelsError(ValueError):
    """An HR picture has fewer pixels than one LR pixel covers."""


class Size(NamedTuple):
    """Height and width of a picture in pixels."""

    height: int
    width: int


class Grids(NamedTuple):
    """Sizes of the top left crops of an LR and an HR picture that show the same area."""

    lr: Size
    hr: Size
    scale: tuple[float, float]


def scale_per_axis(scale: Any) -> tuple[float, float]:
    """Parse a scale option: a number, or a pair (vertical, horizontal).

    Raises:
        ValueError: another type, or a scale below 1.
    """
    axes = tuple(scale) if isinstance(scale, list | tuple) else (scale, scale)
    if len(axes) != 2 or not all(isinstance(s, int | float) and 1 <= s < math.inf for s in axes):
        raise ValueError(f"scale is {scale!r}; give a number of at least 1, or two: [vertical, horizontal]")
    return float(axes[0]), float(axes[1])


def common_integer_scale(hr: Size, lr: Size) -> int | None:
    """Return the integer scale between a picture and its LR.

    Returns:
        The scale that fits both axes with an error of less than one LR pixel, or None.
    """
    scale = round(hr.height / lr.height)
    remainders = (abs(n_hr - scale * n_lr) for n_hr, n_lr in zip(hr, lr, strict=True))
    return scale if scale >= 1 and max(remainders) < scale else None


def axis_scales(hr: int, lr: int) -> tuple[float, float]:
    """Return the open interval of the scales that fit an axis with an error of less than one LR pixel."""
    return hr / (lr + 1), hr / (lr - 1) if lr > 1 else math.inf


def match_grids(*, hr: Size | None, lr: Size | None, scale: tuple[float, float] | None) -> Grids:
    """Return the matching crops of a picture at a scale, as in the evaluation of LIIF.

    For an HR picture of H rows and scale s, the LR has h = floor(H / s) rows and the HR round(h · s).

    Args:
        hr: size of the HR picture; None if there is only an LR picture.
        lr: size of the LR picture; None if the LR is made from the HR.
        scale: vertical and horizontal. None derives it from the sizes, as an integer if one fits.

    Raises:
        ValueError: the scale is missing, or the sizes do not have this ratio.
    """
    if scale is None:
        if hr is None or lr is None:
            raise ValueError("scale is missing; only pairs of dataroot_gt and dataroot_lq may omit it")
        if hr.height < lr.height or hr.width < lr.width:
            raise ValueError(
                f"the LR has {lr.height}x{lr.width} and the HR only {hr.height}x{hr.width} pixels"
            )
        integer = common_integer_scale(hr, lr)
        scale = scale_per_axis(integer or (hr.height / lr.height, hr.width / lr.width))
    rows, columns = (
        _match_axis(hr and hr[axis], lr and lr[axis], s) for axis, s in enumerate(scale)
    )  # (LR, HR) each
    return Grids(Size(rows[0], columns[0]), Size(rows[1], columns[1]), scale)


def _stepped(hr: int, scale: float) -> int | None:
    """Return the LR pixels of an HR axis that is cropped to whole pixels of both, as in ArbSR's test sets."""
    steps = [step for step in LR_STEPS if abs(step * scale - round(step * scale)) < 1e-3]
    return math.floor(hr / (steps[0] * scale) + 1e-9) * steps[0] if steps else None


def _match_axis(hr: int | None, lr: int | None, scale: float) -> tuple[int, int]:
    if lr is None:
        lr = math.floor((hr or 0) / scale + 1e-9)
    elif hr is not None:
        if abs(hr - lr * scale) > scale and lr != _stepped(hr, scale):
            raise ValueError(f"{hr} HR pixels are {hr / lr:.4g} times {lr} LR pixels, not {scale:g} times")
        if round(lr * scale) > hr:
            lr -= 1
    if lr < 1:
        raise TooFewPixelsError(
            f"{hr} HR pixels are too few for scale {scale:g}; lower it or remove the picture"
        )
    return lr, round(lr * scale)
