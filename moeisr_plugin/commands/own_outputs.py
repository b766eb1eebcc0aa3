"""Recognise outputs of earlier runs in a folder, so that they are not enlarged again.

A picture counts as an output if three things agree. Its name is that of another picture plus a label, such
as ``photo_x2.png`` for ``photo.jpg``. That picture lies in the same folder, or where the output folder of an
earlier run would have it. And its size is the size that the label gives for that picture, and not
smaller than that picture. An expert map has the size of its input. After the label of a size may be that of a
window, as in ``photo_x2_window10,20,40,60.png``, whose size is then the window's.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from moeisr_plugin.commands.sizes import Target, targets_of_label
from moeisr_plugin.commands.windows import PREFIX, TargetWindow, parse_window
from moeisr_plugin.pictures import WRITABLE, PictureError, decode_header, errors_with_path

EXPERTS = "_experts"
"""End of the stem of an expert map."""

ROUNDING = 1e-5
"""Relative error of a size, because a label holds 6 digits of a scale."""


def own_outputs(pictures: Sequence[Path], root: Path) -> set[Path]:
    """Return the pictures of a folder that are outputs of earlier runs.

    Args:
        pictures: the pictures below `root`.
        root: the folder that the user named. Folders above it do not count.
    """
    known: dict[tuple[Path, str], list[Path]] = {}
    for path in pictures:
        for name in {path.stem, path.name}:
            known.setdefault((path.parent, name), []).append(path)
    return {path for path in pictures if _is_output(path, known, root)}


def _is_output(path: Path, known: dict[tuple[Path, str], list[Path]], root: Path) -> bool:
    if path.suffix[1:] not in WRITABLE:
        return False
    stem = path.stem.removesuffix(EXPERTS)
    is_map = stem != path.stem
    for separator in re.finditer("_", stem):
        name, label = stem[: separator.start()], stem[separator.end() :]
        targets, window = _parsed(label)
        sources = [
            source
            for folder in (_source_folders(path.parent, label, root) if targets else ())
            for source in known.get((folder, name), ())
            if source != path
        ]
        if any(_has_size(path, source, targets, window, is_map=is_map) for source in sources):
            return True
    return False


def _parsed(label: str) -> tuple[Sequence[Target], TargetWindow | None]:
    """Return the sizes and the window that have a label, such as ``x3.7`` or ``x3.7_window1,2,3.5,4``."""
    size, separator, edges = label.partition(f"_{PREFIX}")
    if not separator:
        return targets_of_label(label), None
    try:
        window = parse_window(edges)
    except argparse.ArgumentTypeError:
        return (), None
    return targets_of_label(size, of_window=True), window


def _source_folders(folder: Path, label: str, root: Path) -> Iterator[Path]:
    """Yield the folders whose pictures may have their outputs in a folder.

    These are the folder itself, the folder for which it is the default output folder, and the folder for
    which it is the output folder if some folder below `root` was given as OUT.
    """
    parts = folder.relative_to(root).parts
    for start in range(len(parts) + 1):
        yield root.joinpath(*parts[start:])
    for index, part in enumerate(parts):
        if part.endswith(f"_{label}"):
            yield root.joinpath(*parts[:index], part.removesuffix(f"_{label}"), *parts[index + 1 :])


def _has_size(
    path: Path, source: Path, targets: Sequence[Target], window: TargetWindow | None, *, is_map: bool
) -> bool:
    """Return whether a picture has the size of the output of `source`.

    Headers give sizes as stored, so both orientations of the source are tried.
    """
    size, given = _stored_size(path), _stored_size(source)
    if size is None or given is None:
        return False
    if window is not None:
        expected = [window.touched] if is_map else [target.output(*window.extent) for target in targets]
        return any(_is_close(each, turned) for each in expected for turned in (size, size[::-1]))
    if is_map:
        return size in (given, given[::-1])
    orientations = [(given, size), (given[::-1], size[::-1])]
    enlarged = all(new >= old for new, old in zip(size, given, strict=True))
    return enlarged and any(
        _is_close(target.output(*given), size) for target in targets for given, size in orientations
    )


def _is_close(expected: tuple[float, float], size: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 0.5 + ROUNDING * a for a, b in zip(expected, size, strict=True))


def _stored_size(path: Path) -> tuple[int, ...] | None:
    """Return (width, height), or None if the picture cannot be read."""
    try:
        with errors_with_path(path), open(path, "rb") as file:
            header = decode_header(file, max_pixels=sys.maxsize)
    except PictureError:
        return None
    return header.width, header.height
