"""Plan which pictures `moeisr upscale` reads, and where it writes each output."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from moeisr_plugin.commands.inputs import find_pictures, names_several
from moeisr_plugin.commands.own_outputs import EXPERTS
from moeisr_plugin.pictures import PICTURE_SUFFIXES, has_quality, picture_format


@dataclass(frozen=True)
class Job:
    """One picture to enlarge.

    Attributes:
        source: the input.
        output: the enlarged picture.
        expert_map: path of the expert map, or None if it is not requested.
    """

    source: Path
    output: Path
    expert_map: Path | None

    @property
    def targets(self) -> list[Path]:
        """All files that the job writes."""
        return [self.output] if self.expert_map is None else [self.output, self.expert_map]

    def as_texts(self) -> list[str | None]:
        """Return the paths as texts, as JSON can hold them."""
        return [None if path is None else str(path) for path in (self.source, self.output, self.expert_map)]

    @staticmethod
    def from_texts(texts: Sequence[str | None]) -> "Job":
        """Return the job that :meth:`as_texts` describes."""
        source, output, expert_map = texts
        return Job(Path(str(source)), Path(str(output)), None if expert_map is None else Path(expert_map))


class Plan(NamedTuple):
    """All pictures of a run.

    Attributes:
        jobs: the pictures to enlarge.
        notes: one line on each kind of files and folders that is left out.
        is_batch: whether the inputs may stand for several pictures.
    """

    jobs: list[Job]
    notes: list[str]
    is_batch: bool


def plan_jobs(
    inputs: Sequence[Path],
    out: str | None,
    *,
    label: str,
    suffix: str | None,
    expert_map: bool,
    recursive: bool = False,
) -> Plan:
    """Pair every input picture with its output.

    Args:
        inputs: files, folders of pictures, and patterns of file names.
        out: a file for a single input file, otherwise a folder. With None, outputs of files go beside
            their inputs, and outputs of a folder go into a new folder beside it.
        label: appended to the stems, such as ``x3.7``.
        suffix: output format without the dot. None takes the format from `out`, or else PNG.
        expert_map: whether to write ``<output stem>_experts.png`` as well.
        recursive: whether to search the folders in folders. The outputs then lie in folders of the same
            names.

    Raises:
        ValueError: a folder or a pattern has no picture, a picture is given twice, two outputs have the same
            path, an output would overwrite an input, or `out` does not match the inputs.
    """
    is_batch = len(inputs) > 1 or names_several(inputs[0])
    if out is not None and not is_batch and (names_file(out) or Path(out).is_file()):
        job = _job(inputs[0], _checked_file(Path(out), suffix), expert_map)
        refuse_collisions([job])
        return Plan([job], [], is_batch)
    if out is not None and (Path(out).is_file() or (is_batch and _names_picture(out))):
        raise ValueError(f"-o {out} is a file, but several outputs need a folder; give a folder")
    output_folder = None if out is None else Path(out)
    found = [find_pictures(given, recursive=recursive, out=output_folder) for given in inputs]
    sources = [
        (path, _folder_of_output(path, each.root, output_folder, label))
        for each in found
        for path in each.pictures
    ]
    jobs = [
        _job(source, folder / f"{name}_{label}.{suffix or 'png'}", expert_map)
        for (source, folder), name in zip(sources, _distinct_names(sources), strict=True)
    ]
    refuse_collisions(jobs)
    return Plan(jobs, [note for each in found for note in each.notes], is_batch)


def check_quality(jobs: Iterable[Job]) -> None:
    """Raise `ValueError` if the format of an output has no quality."""
    for job in jobs:
        if not has_quality(job.output):
            form = picture_format(job.output)
            raise ValueError(f"--quality: {form} has none; choose jpg, webp or avif, or omit --quality")


def _job(source: Path, output: Path, expert_map: bool) -> Job:
    return Job(source, output, output.with_name(f"{output.stem}{EXPERTS}.png") if expert_map else None)


def _folder_of_output(path: Path, root: Path | None, out: Path | None, label: str) -> Path:
    """Return the folder for the output of a picture.

    Args:
        path: the picture.
        root: the input folder in which it was found. None if the picture itself is an input.
        out: the folder given by the user.
        label: appended to the name of `root` by default.
    """
    if root is None:
        return path.parent if out is None else out
    if out is None:
        named = root.resolve()  # Path(".").name is empty
        out = named.with_name(f"{named.name}_{label}")
    return out / path.parent.relative_to(root)


def _distinct_names(sources: Sequence[tuple[Path, Path]]) -> list[str]:
    """Return a name for each output: the stem, or the full name if the stem occurs twice in a folder.

    Upper and lower case count as equal, so that the outputs can be copied to any file system.
    """
    stems = [str((folder / source.stem).resolve()).casefold() for source, folder in sources]
    count = Counter(stems)
    return [
        source.stem if count[stem] == 1 else source.name
        for (source, _), stem in zip(sources, stems, strict=True)
    ]


def names_file(out: str) -> bool:
    """Return whether OUT names a file: it has a suffix, and is no folder."""
    return bool(Path(out).suffix) and not out.endswith(("/", os.sep)) and not Path(out).is_dir()


def _names_picture(out: str) -> bool:
    return names_file(out) and Path(out).suffix.lower() in PICTURE_SUFFIXES


def _checked_file(out: Path, suffix: str | None) -> Path:
    if picture_format(out) != (suffix or picture_format(out)):
        raise ValueError(f"-o {out} and --format {suffix} disagree; omit --format")
    return out


def refuse_collisions(jobs: Iterable[Job]) -> None:
    sources = {_identity(job.source) for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        for target in job.targets:
            identity = _identity(target)
            if identity in sources:
                raise ValueError(f"{target} is an input and would be overwritten; choose another -o")
            if identity in taken and _identity(job.source) == _identity(taken[identity]):
                raise ValueError(f"{job.source}: is given twice; name it once")
            if identity in taken:
                raise ValueError(
                    f"{taken[identity]} and {job.source} would both be written to {target}; "
                    "rename one, or enlarge them in two runs"
                )
            taken[identity] = job.source


def _identity(path: Path) -> str:
    """Return a key that is equal for all paths of a file, also on case-insensitive file systems."""
    resolved = Path(os.path.realpath(path))  # unlike Path.resolve, accepts loops of symbolic links
    return str(resolved) if _tells_case_apart(resolved.parent) else str(resolved).casefold()


def _tells_case_apart(folder: Path) -> bool:
    """Return whether a file system tells `a.png` and `A.png` apart, judged by the name of a folder."""
    for existing in (folder, *folder.parents):
        swapped = existing.with_name(existing.name.swapcase()) if existing.name else existing
        if swapped != existing and existing.exists():
            return not (swapped.exists() and swapped.samefile(existing))
    return False
