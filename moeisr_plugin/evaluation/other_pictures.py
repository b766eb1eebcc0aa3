"""Pictures that other methods enlarged: finding those of a data set at a scale, and reading them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moeisr_plugin.data.decode import decode_rgb
from moeisr_plugin.data.given_lr import holds_pictures, stems, templates_of
from moeisr_plugin.data.name_templates import PLACEHOLDER, NameTemplate
from moeisr_plugin.data.resampling import to_unit
from moeisr_plugin.data.scale_names import names_scale
from moeisr_plugin.data.scaled_set import SampleReference, ScaledSet
from moeisr_plugin.evaluation.results import BICUBIC, ORIGINAL
from moeisr_plugin.pictures import decode_header, errors_with_path, is_picture_name


class OtherPictures:
    """The pictures of one method, by sample.

    Args:
        folder: the pictures of one scale, or a folder for each scale. The name of such a folder ends in the
            scale, as x2 or Set5_x3.7, and it may lie in a folder with the name of the data set.
        test_sets: the data set at each scale.

    Raises:
        ValueError: a picture is missing or has another size than its HR picture; one line.
    """

    def __init__(self, folder: Path, test_sets: Sequence[ScaledSet]):
        self._paths: dict[tuple[str, int], Path] = {}
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder; name a folder of enlarged pictures")
        for test_set in test_sets:
            found = _folder_of(folder, test_set, alone=len(test_sets) == 1)
            for index, path in enumerate(_matched(found, test_set)):
                _require_size(path, test_set, index)
                self._paths[test_set.label, index] = path

    def read(self, place: SampleReference) -> Tensor:
        """Return the picture of a sample, (1, 3, H, W) RGB in [0, 1].

        Raises:
            PictureError: the picture is damaged; one line with its path.
        """
        path = self._paths[place.test_set.label, place.index]
        with errors_with_path(str(path)):
            picture = to_unit(decode_rgb(path.read_bytes()))
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(picture, 2, 0)))[None]


def read_pictures(
    folders: Mapping[str, Path], networks: Iterable[str], test_sets: Sequence[ScaledSet]
) -> dict[str, OtherPictures]:
    """Find the pictures of several methods.

    Args:
        folders: folder of each method by its name in the report.
        networks: names that are taken.
        test_sets: the data set at each scale.

    Raises:
        ValueError: a name is taken, or pictures are missing or have another size; one line.
    """
    taken = {BICUBIC, ORIGINAL, *networks}
    for name in folders:
        if name in taken:
            raise ValueError(f"pictures: the name {name} is taken; choose another one")
    return {name: OtherPictures(folder, test_sets) for name, folder in folders.items()}


def _folder_of(folder: Path, test_set: ScaledSet, *, alone: bool) -> Path:
    """Return the folder of a scale."""
    own = folder / test_set.name
    roots = [own, folder] if own.is_dir() else [folder]
    for root in roots:
        named = [
            path
            for path in sorted(root.iterdir())
            if path.is_dir() and names_scale(path.name, test_set.scale, orders_differ=False)
        ]
        nested = [path / test_set.name for path in named if (path / test_set.name).is_dir()]
        own_first = sorted(named, key=lambda path: not path.name.startswith(test_set.name))
        for path in (*nested, *own_first):
            if holds_pictures(path):
                return path
        if alone and holds_pictures(root):
            return root
    raise ValueError(
        f"{folder}: holds no pictures of {test_set.name} at ×{test_set.label}; put them into a folder "
        f"x{test_set.label}, or omit the scale"
    )


def _matched(folder: Path, test_set: ScaledSet) -> list[Path]:
    """Return the picture of each sample."""
    files = {path.stem: path for path in sorted(folder.iterdir()) if is_picture_name(path)}
    wanted = test_set.picture_names()
    if not wanted:
        return []
    given = templates_of(sorted(wanted), stems(folder))
    gt, own = (NameTemplate(given.get(key, PLACEHOLDER)) for key in ("filename_tmpl_gt", "filename_tmpl"))
    names = [own.name(gt.part(name) or "") for name in wanted]
    missing = [name for name in names if name not in files]
    if missing:
        raise ValueError(
            f"{folder}: has no picture {missing[0]}, of {test_set.name} at ×{test_set.label} ({len(missing)} "
            f"of {len(names)} are missing); add it, or omit the scale"
        )
    return [files[name] for name in names]


def _require_size(path: Path, test_set: ScaledSet, index: int) -> None:
    with errors_with_path(str(path)), open(path, "rb") as file:
        height, width = decode_header(file)[:2]
    wanted = test_set.size_of(index)
    if (height, width) != wanted:
        raise ValueError(
            f"{path}: has {width}x{height} pixels, but the HR at ×{test_set.label} has "
            f"{wanted[1]}x{wanted[0]}; enlarge the LR of this scale to this size"
        )
