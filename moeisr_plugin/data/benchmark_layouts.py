"""How the usual benchmarks lay out a data set, HR with the LR of several scales."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from moeisr_plugin.data.storage import SUFFIXES


class Layout(NamedTuple):
    """Folders of a data set; {n} is the scale, an integer."""

    hr: str  # as LR was made from it, which may be cropped
    lr: str
    lr_name: str = "{{}}"  # {{}} is the name of the HR picture
    uncropped: str | None = None


LAYOUTS = (
    Layout("x{n}/HR", "x{n}/LR"),
    Layout("GTmod12", "LRbicx{n}", uncropped="original"),  # BasicSR
    Layout("HR", "LR_bicubic/X{n}", "{{}}x{n}"),  # EDSR
)


def benchmark_options(folder: Path, scale: tuple[float, float], lr: str = "auto") -> dict[str, Any]:
    """The options of a `ScaleValidationDataset` on a benchmark's folder.

    Args:
        folder: in one of `LAYOUTS`, or of HR pictures alone. Where HR differs by scale (cropped to its
            multiples), scales without HR of their own take it uncropped where it is there, as published by
            LIIF, else that of the smallest, which is cropped least.
        scale: vertical and horizontal.
        lr: given: the LR that comes with the data set. matlab, pil: made from HR, whatever is given. auto:
            given where it is, else matlab at x2, x3 and x4, as the benchmarks' own, and pil at all other
            scales, as published by LIIF.

    Returns:
        dataroot_gt, scale, and either dataroot_lq and filename_tmpl, or downsample.

    Raises:
        ValueError: the folder is missing or holds no pictures, or LR is asked for that is not given.
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
            f"{folder}: holds no LR of vertical scale {scale[0]:g} and horizontal scale {scale[1]:g}; leave "
            "the scale out or have LR made"
        )
    if lr == "auto":
        lr = "matlab" if n in (2, 3, 4) else "pil"
    return {"dataroot_gt": str(_hr_alone(folder, n)), "scale": scale, "downsample": lr}


def _hr_alone(folder: Path, n: int | None) -> Path:
    for candidate in _hr_candidates(folder, n):
        if candidate.is_dir() and any(path.suffix.lower() in SUFFIXES for path in candidate.iterdir()):
            return candidate
    looked_for = ", ".join(layout.hr.format(n="2") for layout in LAYOUTS)
    raise ValueError(f"{folder}: holds no pictures, nor do its folders {looked_for}; name a folder that does")


def _hr_candidates(folder: Path, n: int | None) -> Iterator[Path]:
    for layout in LAYOUTS:
        if layout.uncropped is not None and not (folder / layout.lr.format(n=n)).is_dir():
            yield folder / layout.uncropped
        yield folder / layout.hr.format(n=n)
    yield from sorted(folder.glob("x[0-9]*/HR"), key=lambda path: (len(path.parent.name), path))
    yield folder
