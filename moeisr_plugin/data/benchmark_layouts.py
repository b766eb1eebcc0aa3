"""Options of a validation set for the folder of a benchmark, with given LR or LR made from HR."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moeisr_plugin.data.given_lr import GivenLr, given_lr, holds_pictures, is_at, other_lr, sizes_of
from moeisr_plugin.data.scale_names import Scale, is_scale, names_scale, scale_label, states_scale


def benchmark_options(
    folder: Path, scale: Scale, lr: str = "auto", lr_folder: Path | None = None
) -> dict[str, Any]:
    """Return the options of a `ScaleValidationDataset` for the folder of a benchmark.

    Args:
        folder: a folder in one of the layouts of `given_lr`, or of HR pictures only. Some layouts have HR
            cropped to the multiples of each scale. A scale without its own HR uses the uncropped HR (as in
            LIIF), or else the HR of the smallest scale, which is cropped least.
        scale: vertical and horizontal.
        lr: the source of the LR pictures:
            given: the LR of the data set.
            matlab, pil: downsampled from HR by this method.
            auto: the LR of the data set if present, else matlab at x2, x3 and x4 (as the benchmarks did) and
                pil at other scales (as LIIF did).
        lr_folder: folder of the LR pictures, or of folders of them that are named by their scale.

    Returns:
        dataroot_gt, scale, and either dataroot_lq and templates of names, or downsample.

    Raises:
        ValueError: the folder is missing, it holds no pictures, or it lacks the LR that `lr` requires.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; name a folder of HR pictures, or of HR and LR")
    if lr_folder is not None:
        found = GivenLr(_hr_folder(folder, scale), _lr_folder(lr_folder, scale))
        return {**found.pairs(), "scale": scale}
    if lr in ("auto", "given"):
        for found in given_lr(folder):
            if is_at(found, scale):
                return {**found.pairs(), "scale": scale}
    if lr == "given":
        raise ValueError(
            f"{folder}: holds no LR of vertical scale {scale[0]:g} and horizontal scale {scale[1]:g}; omit "
            "this scale or downsample the HR (pil or matlab)"
        )
    if lr == "auto":
        lr = "matlab" if scale in ((2, 2), (3, 3), (4, 4)) else "pil"
    return {"dataroot_gt": str(_hr_folder(folder, scale)), "scale": scale, "downsample": lr}


def unused_lr(folder: Path, scale: Scale, lr: str, options: dict[str, Any]) -> str | None:
    """Return a sentence on LR pictures that lie in a folder although LR is made from HR, if there are any.

    Args:
        folder, scale, lr: those of `benchmark_options`.
        options: its result.
    """
    if "downsample" not in options:
        return None
    known = given_lr(folder)
    reasons = [f"{_below(found.lr, folder)} ({_reason(found, scale, lr)})" for found in known]
    reasons += [
        f"{_below(path, folder)} (no known layout; name it by --lr-folder)"
        for path in other_lr(folder, known)
    ]
    if not reasons:
        return None
    return (
        f"LR at ×{scale_label(scale)} is made here ({options['downsample']}), without {', '.join(reasons)}."
    )


def _reason(found: GivenLr, scale: Scale, lr: str) -> str:
    try:
        asked = lr != "auto" and is_at(found, scale)
    except ValueError:
        asked = False
    return f"as --downsample {lr} asks" if asked else f"scale {sizes_of(found)}"


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _lr_folder(folder: Path, scale: Scale) -> Path:
    """Return the folder of a scale below a folder of LR, or the folder itself."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; name a folder of LR pictures")
    named = [path for path in sorted(folder.glob("*")) if path.is_dir() and states_scale(path.name)]
    for path in named:
        if names_scale(path.name, scale):
            return path / "LR" if holds_pictures(path / "LR") else path
    if not holds_pictures(folder):
        scales = f"; it has {', '.join(path.name for path in named)}" if named else ""
        raise ValueError(
            f"{folder}: holds neither pictures nor a folder x{scale_label(scale)}{scales}; name the folder "
            "of LR pictures"
        )
    return folder


def _hr_folder(folder: Path, scale: Scale) -> Path:
    """Return the first folder with HR pictures, in the order of `_hr_candidates`."""
    for candidate in _hr_candidates(folder, scale):
        if holds_pictures(candidate):
            return candidate
    raise ValueError(f"{folder}: no pictures here or in x2/HR, GTmod12, HR; name a folder with pictures")


def _hr_candidates(folder: Path, scale: Scale) -> Iterator[Path]:
    subfolders = [path for path in sorted(folder.glob("*")) if path.is_dir()]
    by_scale = [path for path in subfolders if is_scale(path.name)]
    yield from (path / "HR" for path in by_scale if names_scale(path.name, scale))
    cropped_for_scale = any(
        path.name.startswith("LRbic") and names_scale(path.name, scale) for path in subfolders
    )
    if not cropped_for_scale:
        yield folder / "original"  # GTmod12 is cropped
    yield from (folder / "GTmod12", folder / "HR")
    yield from sorted((path / "HR" for path in by_scale), key=lambda path: (len(path.parent.name), path))
    yield folder
