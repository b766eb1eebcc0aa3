"""Which pictures are read, and where each goes."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from moeisr_plugin.pictures import PICTURE_SUFFIXES, picture_format


@dataclass(frozen=True)
class Job:
    """One picture to enlarge; `expert_map` is None where none is asked for."""

    source: Path
    output: Path
    expert_map: Path | None

    @property
    def targets(self) -> list[Path]:
        return [self.output] if self.expert_map is None else [self.output, self.expert_map]


def plan_jobs(
    inputs: Sequence[Path], out: str | None, *, label: str, suffix: str | None, expert_map: bool
) -> list[Job]:
    """Pairs every input picture with its output.

    Args:
        inputs: files, and folders of pictures (their subfolders are left alone).
        out: a file for a single input file, otherwise a folder. None puts files beside their inputs, and
            the pictures of a folder into a new folder beside it, so that no later run takes them for inputs.
        label: what is added to the stems, such as ``x3.7``.
        suffix: format of the outputs without the dot; None leaves it to `out`, and PNG where that is silent.
        expert_map: whether ``<output stem>_experts.png`` is written too.

    Raises:
        ValueError: nothing to do, outputs that collide or hit an input, or an `out` that does not fit.
    """
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if out is not None and single and _names_file(out):
        outputs = [(inputs[0], _checked_file(Path(out), suffix))]
    else:
        if out is not None and (Path(out).is_file() or (not single and _names_picture(out))):
            raise ValueError(f"-o {out} names a file, but a folder is needed; name a folder")
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
    """The pictures of an input, each with the folder that its output goes into."""
    if not given.is_dir():
        return [(given, given.parent if out is None else Path(out))]
    named = given.resolve()  # "." has no name of its own
    folder = named.with_name(f"{named.name}_{label}") if out is None else Path(out)
    sources = sorted(
        path
        for path in given.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not sources:
        raise ValueError(f"{given}: holds no pictures; name a folder that does (subfolders are not searched)")
    return [(source, folder) for source in sources]


def passed_over(given: Path) -> str | None:
    """Says which files of a folder are not named as pictures; None if all are, or it is no folder."""
    if not given.is_dir():
        return None
    files = [path for path in given.iterdir() if path.is_file() and not path.name.startswith(".")]
    others = sorted({path.suffix.lower() for path in files} - PICTURE_SUFFIXES)
    count = sum(path.suffix.lower() in others for path in files)
    kinds = ", ".join(suffix or "no suffix" for suffix in others)
    return f"{given}: {count} of {len(files)} files are not named as pictures ({kinds})" if count else None


def _distinct_names(sources: Sequence[tuple[Path, Path]]) -> list[str]:
    """What outputs are named after: the stem, with the suffix where a folder would get the same twice."""
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
        raise ValueError(f"-o {out} and --format {suffix} disagree; leave --format out")
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
                    "rename one or enlarge them in two runs"
                )
            taken[identity] = job.source


def _identity(path: Path) -> str:
    """The same for all names of a file, also where the file system ignores case."""
    return str(path.resolve()).casefold()
