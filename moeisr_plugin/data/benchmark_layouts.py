"""Folder layouts of the common benchmarks: HR and the LR of several scales."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from moeisr_plugin.pictures import is_picture_name


class Layout(NamedTuple):
    """Folders of a data set; {n} stands for the integer scale."""

    hr: str  # the source of the LR, possibly cropped to multiples of the scale
    lr: str
    lr_name: str = "{{}}"  # {{}} stands for the name of the HR picture
    uncropped: str | None = None


LAYOUTS = (
    Layout("x{n}/HR", "x{n}/LR"),
    Layout("GTmod12", "LRbicx{n}", uncropped="original"),  # BasicSR
    Layout("HR", "LR_bicubic/X{n}", "{{}}x{n}"),  # EDSR
)


def benchmark_options(folder: Path, scale: tuple[float, float], lr: str = "auto") -> dict[str, Any]:
    """Return the options of a `ScaleValidationDataset` for the folder of a benchmark.

    Args:
        folder: a folder in one of `LAYOUTS`, or of HR pictures only. Some layouts have HR cropped to the
            multiples of each scale. A scale without its own HR uses the uncropped HR (as in LIIF), or else
            the HR of the smallest scale, which is cropped least.
        scale: vertical and horizontal.
        lr: the source of the LR pictures:
            given: the LR of the data set.
            matlab, pil: downsampled from HR by this method.
            auto: the LR of the data set if present, else matlab at x2, x3 and x4 (as the benchmarks did) and
                pil at other scales (as LIIF did).

    Returns:
        dataroot_gt, scale, and either dataroot_lq and filename_tmpl, or downsample.

    Raises:
        ValueError: the folder is missing, it holds no pictures, or it lacks the LR that `lr` requires.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; name a folder of HR pictures, or of HR and LR")
    n = int(scale[0]) if scale[0] == scale[1] and scale[0] % 1 == 0 else None
    if lr in ("auto", "given"):
        for layout in LAYOUTS:
            hr_root, lr_root = folder / layout.hr.format(n=n), folder / layout.lr.format(n=n)
            if hr_root.is_dir() and lr_root.is_dir():
                pairs = {"dataroot_gt": str(hr_root), "dataroot_lq": str(lr_root)}
                return {**pairs, "filename_tmpl": layout.lr_name.format(n=n), "scale": scale}
    if lr == "given":
        raise ValueError(
            f"{folder}: holds no LR of vertical scale {scale[0]:g} and horizontal scale {scale[1]:g}; omit "
            "this scale or downsample the HR (pil or matlab)"
        )
    if lr == "auto":
        lr = "matlab" if n in (2, 3, 4) else "pil"
    return {"dataroot_gt": str(_hr_folder(folder, n)), "scale": scale, "downsample": lr}


def _hr_folder(folder: Path, n: int | None) -> Path:
    """Return the first folder with HR pictures, in the order of `_hr_candidates`."""
    for candidate in _hr_candidates(folder, n):
        if candidate.is_dir() and any(is_picture_name(path) for path in candidate.iterdir()):
            return candidate
    tried = ", ".join(layout.hr.format(n="2") for layout in LAYOUTS)
    raise ValueError(f"{folder}: no pictures here or in {tried}; name a folder with pictures")


def _hr_candidates(folder: Path, n: int | None) -> Iterator[Path]:
    for layout in LAYOUTS:
        if layout.uncropped is not None and not (folder / layout.lr.format(n=n)).is_dir():
            yield folder / layout.uncropped
        yield folder / layout.hr.format(n=n)
    yield from sorted(folder.glob("x[0-9]*/HR"), key=lambda path: (len(path.parent.name), path))
    yield folder
