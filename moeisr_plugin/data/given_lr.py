"""LR pictures that lie beside HR pictures, in the folder layouts of the field."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from moeisr_plugin.data.grids import axis_scales
from moeisr_plugin.data.name_templates import PLACEHOLDER, NameTemplate
from moeisr_plugin.data.pair_grids import grids_of_pairs, size_of
from moeisr_plugin.data.pairing import list_pairs
from moeisr_plugin.data.scale_names import Scale, is_scale, names_scale, states_scale
from moeisr_plugin.data.storage import PictureSource
from moeisr_plugin.pictures import PictureError, is_picture_name


class GivenLr(NamedTuple):
    """A folder of LR pictures and that of their HR pictures."""

    hr: Path
    lr: Path

    def pairs(self) -> dict[str, Any]:
        """Return dataroot_gt, dataroot_lq, and the templates of names that most pictures fit."""
        templates = templates_of(stems(self.hr), stems(self.lr))
        return {"dataroot_gt": str(self.hr), "dataroot_lq": str(self.lr), **templates}


def given_lr(folder: Path) -> list[GivenLr]:
    """Return the LR folders of a benchmark, in any of its layouts:

    - x2.5/HR and x2.5/LR;
    - GTmod12 and LRbicx2 (BasicSR);
    - HR and LR_bicubic/X2, X1.60 or X1.60_X2.00 (EDSR, Meta-SR, ArbSR);
    - HR and LR, whose scale follows from the sizes.
    """
    return [found for found in _layouts(folder) if holds_pictures(found.hr) and holds_pictures(found.lr)]


def other_lr(folder: Path, known: list[GivenLr]) -> list[Path]:
    """Return folders of pictures whose names begin with LR and that are in no known layout."""
    used = {found.lr for found in known}
    below = [path for path in sorted(folder.glob("*")) if path.is_dir()]
    below += [inner for path in below for inner in sorted(path.glob("*")) if inner.is_dir()]
    named = [
        path
        for path in below
        if any(part.lower().startswith("lr") for part in path.relative_to(folder).parts)
    ]
    return [path for path in named if path not in used and holds_pictures(path)]


def is_at(found: GivenLr, scale: Scale) -> bool:
    """Return whether LR pictures have a scale, by the name of their folder or else by their sizes.

    Raises:
        ValueError: pictures lack a partner, or cannot be read; one line.
    """
    by_scale = found.lr if states_scale(found.lr.name) else found.lr.parent
    if by_scale != found.lr and not is_scale(by_scale.name):
        return _fits(found, scale)
    if not names_scale(by_scale.name, scale):
        return False
    return scale[0] == scale[1] or _fits(found, scale) or _fits_as_cropped(found, scale)


def _fits(found: GivenLr, scale: Scale) -> bool:
    """Return whether the sizes of all pairs fit a scale to less than one LR pixel."""
    hr, lr = _listed(found)
    for index in range(len(hr)):
        for large, small, s in zip(size_of(hr, index), size_of(lr, index), scale, strict=True):
            low, high = axis_scales(large, small)
            if not low < s < high:
                return False
    return True


def _fits_as_cropped(found: GivenLr, scale: Scale) -> bool:
    """Return whether the sizes of all pairs fit a scale as `match_grids` has it."""
    try:
        grids_of_pairs(*_listed(found), {"scale": scale})
    except ValueError:
        return False
    return True


def _listed(found: GivenLr) -> tuple[PictureSource, PictureSource]:
    hr, lr = list_pairs(found.pairs())
    assert hr is not None
    assert lr is not None
    return hr, lr


def sizes_of(found: GivenLr) -> str:
    """Return the scale of the first pair of pictures, for messages."""
    try:
        hr, lr = _listed(found)
        down, across = (large / small for large, small in zip(size_of(hr, 0), size_of(lr, 0), strict=True))
    except (PictureError, ValueError):
        return "unknown"
    return f"{down:.4g}" if round(down, 2) == round(across, 2) else f"{down:.4g} by {across:.4g}"


def holds_pictures(folder: Path) -> bool:
    """Return whether a folder exists and holds pictures that are not hidden."""
    return folder.is_dir() and any(
        is_picture_name(path) and not path.name.startswith(".") for path in folder.iterdir()
    )


def _layouts(folder: Path) -> Iterator[GivenLr]:
    subfolders = [path for path in sorted(folder.glob("*")) if path.is_dir()]
    yield from (GivenLr(path / "HR", path / "LR") for path in subfolders if is_scale(path.name))
    for path in subfolders:
        if path.name.startswith("LRbic") and states_scale(path.name):
            yield GivenLr(folder / "GTmod12", path)
    bicubic = folder / "LR_bicubic"
    for path in sorted(bicubic.glob("*")):
        if path.is_dir() and states_scale(path.name):
            yield GivenLr(folder / "HR", path)
    yield from (GivenLr(folder / "HR", folder / name) for name in ("LR", "LR_bicubic"))


def stems(folder: Path) -> list[str]:
    """Return the names of the pictures in a folder without their suffixes, in order."""
    names = (path for path in folder.iterdir() if is_picture_name(path) and not path.name.startswith("."))
    return sorted(path.stem for path in names)


def templates_of(hr: Sequence[str], lr: Sequence[str]) -> dict[str, str]:
    """Return filename_tmpl_gt and filename_tmpl by which most HR pictures have another picture.

    Args:
        hr: names of HR pictures, at least one.
        lr: names of the other pictures.
    """
    first, known = hr[0], set(lr)
    pairs = [(PLACEHOLDER, PLACEHOLDER)]
    pairs += [(PLACEHOLDER, PLACEHOLDER.join(name.split(first, 1))) for name in lr if first in name]
    if first.endswith("HR"):
        core = first[:-2]
        replaced = [name[len(core) :] for name in lr if name.startswith(f"{core}LR")]
        pairs += [(f"{PLACEHOLDER}HR", f"{PLACEHOLDER}{ending}") for ending in replaced]

    def found(pair: tuple[str, str]) -> int:
        gt, lq = (NameTemplate(text) for text in pair)
        return sum(lq.name(gt.part(name) or "") in known for name in hr)

    gt, lq = max(pairs, key=found)  # the first of equals
    named = {"filename_tmpl_gt": gt, "filename_tmpl": lq}
    return {key: text for key, text in named.items() if text != PLACEHOLDER}
