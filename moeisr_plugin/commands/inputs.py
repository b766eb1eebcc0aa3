"""Find the pictures that the inputs of `moeisr upscale` name."""

import glob
import itertools
import os
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from pathlib import Path

from moeisr_plugin.commands.own_outputs import own_outputs
from moeisr_plugin.pictures import is_picture_name
from moeisr_plugin.video.formats import is_video_name

PATTERN = "*?["
"""Characters that make a path a pattern."""


@dataclass(frozen=True)
class Found:
    """The pictures of one input.

    Attributes:
        pictures: in the order in which they are enlarged.
        root: the input if it is a folder, otherwise None.
        notes: one line on each kind of files and folders that is left out.
    """

    pictures: tuple[Path, ...]
    root: Path | None = None
    notes: tuple[str, ...] = ()


def names_several(given: Path) -> bool:
    """Return whether an input may stand for several pictures."""
    return given.is_dir() or _is_pattern(given)


def find_pictures(given: Path, *, recursive: bool, out: Path | None) -> Found:
    """Find the pictures of an input. A path that is neither folder nor pattern is returned unchecked.

    Hidden files and folders, links to folders, the output folder below `given`, and outputs of earlier runs
    are left out.

    Args:
        given: a file, a folder, or a pattern of file names.
        recursive: whether to search the folders in `given`.
        out: the output folder, or None if it is not below `given`.

    Raises:
        ValueError: the folder or the pattern has no picture.
        OSError: the folder cannot be read.
    """
    if _is_pattern(given):
        return _matches(given)
    if not given.is_dir():
        return Found((given,))
    tree = _search(given, recursive=recursive, out=out)
    named = [path for path in tree.files if is_picture_name(path)]
    outputs = own_outputs(named, given)
    pictures = tuple(path for path in named if path not in outputs)
    if not pictures:
        unsearched = _count(tree.left_out, "folder") if tree.left_out and not recursive else None
        remedy = f"add --recursive to search its {unsearched}" if unsearched else "give another folder"
        if any(map(is_video_name, tree.files)):
            remedy = "name a video itself to enlarge it"
        raise ValueError(f"{given}: contains no pictures; {remedy}")
    notes = [
        _note_on_files(tree.files),
        _note_on_outputs(outputs),
        *_notes_on_folders(tree, recursive=recursive),
    ]
    return Found(pictures, given, tuple(f"{given}: {note}" for note in notes if note))


def _is_pattern(given: Path) -> bool:
    """Return whether a path is a pattern, which some shells do not expand. Existing files take precedence."""
    return any(character in str(given) for character in PATTERN) and not os.path.lexists(given)


def _matches(pattern: Path) -> Found:
    """Find the pictures that match a pattern."""
    files = sorted(path for path in map(Path, glob.glob(str(pattern), recursive=True)) if path.is_file())
    named = [path for path in files if is_picture_name(path)]
    if not named:
        raise ValueError(f"{pattern}: no picture has this name or matches this pattern; check it")
    fixed = itertools.takewhile(lambda part: not any(each in part for each in PATTERN), pattern.parts)
    outputs = own_outputs(named, Path(*fixed))
    notes = filter(None, [_note_on_files(files), _note_on_outputs(outputs)])
    pictures = tuple(path for path in named if path not in outputs)
    return Found(pictures, notes=tuple(f"{pattern}: {note}" for note in notes))


@dataclass
class _Tree:
    """Files of a folder, and the folders in it that are not searched."""

    files: list[Path]
    left_out: list[Path]
    unreadable: list[Path]


def _search(root: Path, *, recursive: bool, out: Path | None) -> _Tree:
    tree = _Tree([], [], [])
    excluded = None if out is None else out.resolve()

    def unreadable(error: OSError) -> None:
        folder = Path(error.filename)
        if folder == root:
            raise error
        tree.unreadable.append(folder)

    for folder, folders, files in os.walk(root, onerror=unreadable):
        here = Path(folder)
        visible = sorted(name for name in folders if not name.startswith("."))
        inner = [here / name for name in visible if (here / name).resolve() != excluded]
        searched = [path for path in inner if recursive and not path.is_symlink()]
        tree.left_out += [path for path in inner if path not in searched]
        folders[:] = [path.name for path in searched]
        paths = [here / name for name in files if not name.startswith(".")]
        tree.files += sorted(path for path in paths if path.is_file())
    return tree


def _note_on_files(files: Iterable[Path]) -> str | None:
    files = list(files)
    others = [path for path in files if not is_picture_name(path)]
    kinds = ", ".join(sorted({path.suffix.lower() or "no suffix" for path in others}, key=_no_suffix_first))
    if not others:
        return None
    videos = "; name a video itself to enlarge it" if any(map(is_video_name, others)) else ""
    return f"ignoring {len(others)} of {len(files)} files without a picture suffix ({kinds}){videos}"


def _no_suffix_first(kind: str) -> tuple[bool, str]:
    return kind.startswith("."), kind


def _note_on_outputs(outputs: set[Path]) -> str | None:
    if not outputs:
        return None
    first = min(outputs).name
    names = first if len(outputs) == 1 else f"{first} and {len(outputs) - 1} more"
    return f"leaving out outputs of earlier runs ({names}); name a file itself to enlarge it"


def _notes_on_folders(tree: _Tree, *, recursive: bool) -> list[str]:
    notes = [f"{path.name}: may not be read; check its permissions" for path in tree.unreadable]
    if tree.left_out and recursive:
        notes.append(f"leaving out {_count(tree.left_out, 'linked folder')}")
    elif tree.left_out:
        left_out = _count(tree.left_out, "folder")
        notes.append(f"leaving out {left_out}; add --recursive to enlarge their pictures")
    return notes


def _count(items: Sized, name: str) -> str:
    return f"{len(items)} {name}{'s' * (len(items) != 1)}"
