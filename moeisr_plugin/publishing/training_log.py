"""Read what an experiment folder records: options, iterations, pictures and seconds of a training."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from moeisr_plugin.options.kept import KEPT
from moeisr_plugin.options.parse import read_options

_MESSAGE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \w+: (.*)$")
_PROCESSES = re.compile(r"^  (dist|world_size|num_gpu): (\w+)$", re.MULTILINE)
_START = re.compile(r"Start training from epoch: \d+, iter: (\d+)")
_PROGRESS = re.compile(r"\biter:\s*([\d,]+), lr:|: iteration (\d+) is saved;")
_PICTURES = re.compile(r"^\s*Number of train images: (\d+)", re.MULTILINE)
_OPTION_FILE = re.compile(r"^#.*\s-opt[ =](.+?)(?:\s--?\w.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Training:
    """A training up to a checkpoint.

    Attributes:
        options: the resolved options, including those of `--force_yml`.
        option_file: as named on the command line, without the folder if the path was absolute.
        at_once: processes or GPUs that train together.
        pictures: number of pictures in the training set.
        iterations: up to the checkpoint.
        seconds: of all runs, including validation and work lost by interruptions.
        runs: number of starts, the first and the resumed ones.
    """

    options: dict[str, Any]
    option_file: str
    at_once: int
    pictures: int
    iterations: int
    seconds: float
    runs: int

    @property
    def samples(self) -> int:
        """Patches up to the checkpoint, of all processes and GPUs."""
        return self.iterations * self.batch

    @property
    def batch(self) -> int:
        """Patches of an iteration, of all processes and GPUs."""
        return self.options["datasets"]["train"]["batch_size_per_gpu"] * self.at_once


@dataclass(frozen=True)
class _Run:
    """One log: the first iteration, the start, the times of later iterations, and the end."""

    first: int
    start: datetime
    progress: list[tuple[int, datetime]]
    finished: datetime | None


def read_training(folder: Path, checkpoint: Path, iterations: int | None = None) -> Training:
    """Read the options and the logs of an experiment.

    Args:
        folder: of the experiment, with its logs and `options.yml`.
        checkpoint: named by its iteration, such as net_g_5000.pth; any other name means the last iteration.
        iterations: of the checkpoint, if the file states them.

    Raises:
        ValueError: logs or options are missing, or the logs do not reach this checkpoint; one line.
    """
    paths = sorted(folder.glob("train_*.log"))
    texts = [text for path in paths if _START.search(text := path.read_text(encoding="utf-8"))]
    if not texts:
        raise ValueError(f"{folder}: holds no log of a training; name its folder by --experiment")
    options = _kept_options(folder)
    pictures = _PICTURES.search(texts[-1])
    processes = dict(_PROCESSES.findall(texts[-1]))
    if pictures is None or not processes:
        raise ValueError(
            f"{paths[-1]}: does not state options and pictures; keep the logs as they were written"
        )
    runs = sorted(map(_run, texts), key=lambda run: run.start)
    iterations = _iterations(runs, checkpoint, iterations, options["train"]["total_iter"], folder)
    runs = [run for run in runs if run.first < iterations]
    return Training(
        options=options,
        option_file=_option_file(folder),
        at_once=_at_once(processes),
        pictures=int(pictures[1]),
        iterations=iterations,
        seconds=sum(_seconds(run, iterations) for run in runs),
        runs=len(runs),
    )


def _kept_options(folder: Path) -> dict[str, Any]:
    path = folder / KEPT
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; trainings of older versions did not write it, so write it by `moeisr "
            f"options OPTION_FILE [--force_yml ...] > {path}`"
        )
    options = read_options(path)
    for key in ("name", "manual_seed", "network_g", "datasets", "train"):
        if key not in options:
            raise ValueError(f"{path}: lacks {key}; write it anew by `moeisr options`")
    return options


def _at_once(processes: dict[str, str]) -> int:
    """Return the number of processes, or without a launcher that of GPUs, as the toolbox logs them."""
    number = processes.get("world_size" if processes.get("dist") == "True" else "num_gpu", "1")
    return max(int(number), 1)


def _run(text: str) -> _Run:
    start, finished, progress = None, None, []
    for line in text.splitlines():
        message = _MESSAGE.match(line)
        if message is None:
            continue
        time = datetime.strptime(message[1], "%Y-%m-%d %H:%M:%S,%f")
        if found := _START.match(message[2]):
            start = int(found[1]), time
        elif found := _PROGRESS.search(message[2]):
            progress.append((int((found[1] or found[2]).replace(",", "")), time))
        elif message[2].startswith("End of training"):
            finished = time
    assert start is not None  # read_training skips logs without a start
    return _Run(*start, progress, finished)


def _iterations(runs: list[_Run], checkpoint: Path, stated: int | None, total: int, folder: Path) -> int:
    """Return the iterations of a checkpoint: as it states, else by its name, else the last logged."""
    logged = [total for run in runs if run.finished] + [i for run in runs for i, _ in run.progress]
    number = checkpoint.stem.rpartition("_")[2]
    stated = int(number) if stated is None and number.isdecimal() else stated
    if not logged or (stated is not None and stated > max(logged)):
        raise ValueError(
            f"{folder}: its logs do not reach {checkpoint.name}; name its folder by --experiment"
        )
    return max(logged) if stated is None else stated


def _seconds(run: _Run, iterations: int) -> float:
    """Return the seconds from the start of a run to this iteration, or to its end."""
    times = [time for iteration, time in run.progress if iteration >= iterations][:1]
    times = times or ([run.finished] if run.finished else [time for _, time in run.progress[-1:]])
    return (times[0] - run.start).total_seconds() if times else 0.0


def _option_file(folder: Path) -> str:
    """Return the option file as named in the head of a copy; a raw copy counts before `options.yml`."""
    copies = sorted(folder.glob("*.yml"), key=lambda path: (path.name == KEPT, path.name))
    for copy in copies:
        if found := _OPTION_FILE.search(copy.read_text(encoding="utf-8")):
            path = PurePath(found[1])
            return path.name if path.is_absolute() else path.as_posix()
    raise ValueError(
        f"{folder}: holds no option file as a training copies it there; name its folder by --experiment"
    )
