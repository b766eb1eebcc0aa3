"""Scales and common areas of given pairs of HR and LR pictures."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from basicsr.utils import get_root_logger

from moeisr_plugin.data.grids import Grids, Size, axis_scales, match_grids, scale_per_axis
from moeisr_plugin.data.storage import PictureSource


def grids_of_pairs(hr: PictureSource, lr: PictureSource, opt: Mapping[str, Any]) -> list[Grids]:
    """Return the common area of each pair.

    Args:
        hr, lr: pictures in the same order.
        opt: options of a dataset:
            scale: a number or [vertical, horizontal]. Default: from the sizes, as in `match_grids`.
            mixed_scales: the pairs of one folder may have different scales; default false.

    Raises:
        ValueError: a pair does not have the scale, or not that of the other pairs of its folder; one line.
    """
    scale = None if opt.get("scale") is None else scale_per_axis(opt["scale"])
    grids = [_grids(hr, lr, index, scale) for index in range(len(hr))]
    if scale is None and not opt.get("mixed_scales", False):
        folders: dict[int, list[int]] = {}
        for index in range(len(hr)):
            folders.setdefault(lr.folder_of(index), []).append(index)
        for indices in folders.values():
            _check_common_scale(hr, lr, indices)
    return grids


def log_scales(lr: PictureSource, grids: Sequence[Grids]) -> None:
    """Log the smallest and the largest scale of pairs on each axis."""
    axes = zip(*(each.scale for each in grids), strict=True)
    ranges = [" to ".join(dict.fromkeys(f"{bound(axis):.4g}" for bound in (min, max))) for axis in axes]
    text = ranges[0] if ranges[0] == ranges[1] else f"{ranges[0]} vertically, {ranges[1]} horizontally"
    get_root_logger().info(f"{lr.label}: LR pictures at scale {text}.")


def size_of(pictures: PictureSource, index: int) -> Size:
    """Return the size that the header of a picture states."""
    return Size(*pictures.header(index)[:2])


def _grids(hr: PictureSource, lr: PictureSource, index: int, scale: tuple[float, float] | None) -> Grids:
    try:
        return match_grids(hr=size_of(hr, index), lr=size_of(lr, index), scale=scale)
    except ValueError as error:
        raise ValueError(
            f"{lr.path(index)}: {error} ({hr.path(index)}); correct the scale or the pair"
        ) from None


def _check_common_scale(hr: PictureSource, lr: PictureSource, indices: Sequence[int]) -> None:
    """Check that the pairs fit one vertical and one horizontal scale."""
    sizes = {index: (size_of(hr, index), size_of(lr, index)) for index in indices}
    for axis in (0, 1):
        scales = {index: axis_scales(large[axis], small[axis]) for index, (large, small) in sizes.items()}
        if max(low for low, _ in scales.values()) < min(high for _, high in scales.values()):
            continue
        usual = statistics.median_low(large[axis] / small[axis] for large, small in sizes.values())
        odd = next(index for index, (low, high) in scales.items() if not low < usual < high)
        large, small = sizes[odd]
        raise ValueError(
            f"{lr.path(odd)}: {small.height}x{small.width} is 1/{large[axis] / small[axis]:.4g} of the "
            f"{large.height}x{large.width} of {hr.path(odd)} {('vertically', 'horizontally')[axis]}, but "
            f"1/{usual:.4g} is usual in its folder; correct the pair, or allow mixed_scales: true"
        )
