"""Plan which pictures `moeisr upscale` reads, and where it writes each output."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from moeisr_plugin.pictures import PICTURE_SUFFIXES, picture_format


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


def plan_jobs(
    inputs: Sequence[Path], out: str | None, *, label: str, suffix: str | None, expert_map: bool
) -> list[Job]:
    """Pair every input picture with its output.

    Args:
        inputs: files, and folders of pictures. Subfolders are not searched.
        out: a file for a single input file, otherwise a folder. With None, outputs of files go beside
            their inputs, and outputs of a folder go into a new folder beside it.
        label: appended to the stems, such as ``x3.7``.
        suffix: output format without the dot. None takes the format from `out`, or else PNG.
        expert_map: whether to write ``<output stem>_experts.png`` as well.

    Raises:
        ValueError: there is no input, two outputs have the same path, an output would overwrite an input,
            or `out` does not match the inputs.
    """
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if out is not None and single and _names_file(out):
        outputs = [(inputs[0], _checked_file(Path(out), suffix))]
    else:
        if out is not None and (Path(out).is_file() or (not single and _names_picture(out))):
            raise ValueError(f"-o {out} is a file, but several outputs need a folder; give a folder")
        sources = [pair for given in inputs for pair in _sources(given, out, label)]
        outputs = [
            (source, folder / f"{name}_{label}.{suffix or 'png'}")
            for (source, folder), name in zip(sources, _distinct_names(sources), strict=True)
        ]
    jobs = [
        Job(source, output, output.with_name(f"{output.stem}_experts.png") if expert_map else None)
        for source, output in outputs
    ]
    _refuse_collisions(jobs)
    return jobs


def _sources(given: Path, out: str | None, label: str) -> list[tuple[Path, Path]]:
    """Return the pictures of an input, each with its output folder."""
    if not given.is_dir():
        return [(given, given.parent if out is None else Path(out))]
    named = given.resolve()  # Path(".").name is empty
    folder = named.with_name(f"{named.name}_{label}") if out is None else Path(out)
    sources = sorted(
        path
        for path in given.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not sources:
        raise ValueError(f"{given}: contains no pictures; give another folder (subfolders are not searched)")
    return [(source, folder) for source in sources]


def ignored_files(given: Path) -> str | None:
    """Describe the files of a folder without a picture suffix. None if there are none, or for a file."""
    if not given.is_dir():
        return None
    files = [path for path in given.iterdir() if path.is_file() and not path.name.startswith(".")]
    others = sorted({path.suffix.lower() for path in files} - PICTURE_SUFFIXES)
    count = sum(path.suffix.lower() in others for path in files)
    kinds = ", ".join(suffix or "no suffix" for suffix in others)
    return (
        f"{given}: ignoring {count} of {len(files)} files without a picture suffix ({kinds})"
        if count
        else None
    )


def _distinct_names(sources: Sequence[tuple[Path, Path]]) -> list[str]:
    """Return a name for each output: the stem, or the full name if the stem occurs twice in a folder."""
    stems = [_identity(folder / source.stem) for source, folder in sources]
    count = Counter(stems)
    return [
        source.stem if count[stem] == 1 else source.name
        for (source, _), stem in zip(sources, stems, strict=True)
    ]


def _names_file(out: str) -> bool:
    return bool(Path(out).suffix) and not out.endswith(("/", os.sep)) and not Path(out).is_dir()


def _names_picture(out: str) -> bool:
    return _names_file(out) and Path(out).suffix.lower() in PICTURE_SUFFIXES


def _checked_file(out: Path, suffix: str | None) -> Path:
    if picture_format(out) != (suffix or picture_format(out)):
        raise ValueError(f"-o {out} and --format {suffix} disagree; omit --format")
    return out


def _refuse_collisions(jobs: Iterable[Job]) -> None:
    sources = {_identity(job.source) for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        for target in job.targets:
            identity = _identity(target)
            if identity in sources:
                raise ValueError(f"{target} is an input and would be overwritten; choose another -o")
            if identity in taken:
                raise ValueError(
                    f"{taken[identity]} and {job.source} would both be written to {target}; "
                    "rename one, or enlarge them in two runs"
                )
            taken[identity] = job.source


def _identity(path: Path) -> str:
    """Return a key that is equal for all paths of a file, also on case-insensitive file systems."""
    return os.path.realpath(path).casefold()  # unlike Path.resolve, accepts loops of symbolic links
