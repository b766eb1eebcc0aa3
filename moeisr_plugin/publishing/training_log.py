"""What the toolbox's logs tell of a training: its options, its iterations and how long it took."""

import ast
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

_MESSAGE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \w+: (.*)$")
_OPTIONS = re.compile(r"INFO: \n(?=  \w+:)")
_START = re.compile(r"Start training from epoch: \d+, iter: (\d+)")
_PROGRESS = re.compile(r"\biter:\s*([\d,]+), lr:|: iteration (\d+) is saved;")
_PICTURES = re.compile(r"^\s*Number of train images: (\d+)", re.MULTILINE)
_OPTION_FILE = re.compile(r"^#.*\s-opt[ =](.+?)(?:\s--?\w.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Training:
    """A training up to a checkpoint.

    Attributes:
        options: as the training took them, what was forced on the command line included.
        option_file: as it was named on the command line; without its folder if that was an absolute path.
        pictures: that were trained on.
        iterations: up to the checkpoint.
        seconds: of all goes, validation included, work lost by interruptions too.
        goes: how often it was started or resumed.
    """

    options: dict[str, Any]
    option_file: str
    pictures: int
    iterations: int
    seconds: float
    goes: int

    @property
    def samples(self) -> int:
        """Patches that were trained on up to the checkpoint, those of all processes and GPUs."""
        return self.iterations * self.batch

    @property
    def batch(self) -> int:
        """Patches of an iteration."""
        options = self.options
        at_once = options.get("world_size", 1) if options.get("dist") else max(options.get("num_gpu", 1), 1)
        return options["datasets"]["train"]["batch_size_per_gpu"] * at_once


@dataclass(frozen=True)
class _Go:
    """One log: when training began, at which iteration, and when it was where."""

    first: int
    start: datetime
    progress: list[tuple[int, datetime]]
    finished: datetime | None


def read_training(folder: Path, checkpoint: Path, iterations: int | None = None) -> Training:
    """Reads the logs of an experiment.

    Args:
        folder: of the experiment, with its logs and its copy of the option file.
        checkpoint: named as the toolbox does, by the iteration, as net_g_5000.pth, or else the last one.
        iterations: of the checkpoint, where it tells them itself.

    Raises:
        ValueError: logs or an option file are missing, or do not tell of this checkpoint.
    """
    paths = sorted(folder.glob("train_*.log"))
    texts = [text for path in paths if _START.search(text := path.read_text(encoding="utf-8"))]
    if not texts:
        raise ValueError(f"{folder}: holds no log of a training; name its folder by --experiment")
    options = logged_options(texts[-1])
    pictures = _PICTURES.search(texts[-1])
    if pictures is None or "datasets" not in options or "train" not in options:
        raise ValueError(
            f"{paths[-1]}: does not tell options and pictures; keep the logs as they were written"
        )
    goes = sorted(map(_go, texts), key=lambda go: go.start)
    iterations = _iterations(goes, checkpoint, iterations, options["train"]["total_iter"], folder)
    goes = [go for go in goes if go.first < iterations]
    return Training(
        options=options,
        option_file=_option_file(folder),
        pictures=int(pictures[1]),
        iterations=iterations,
        seconds=sum(_seconds(go, iterations) for go in goes),
        goes=len(goes),
    )


def logged_options(text: str) -> dict[str, Any]:
    """The options that the toolbox prints when a training starts; empty if there are none."""
    options: dict[str, Any] = {}
    nested = [options]
    start = _OPTIONS.search(text)
    for line in text[start.end() :].splitlines() if start else []:
        key, colon, value = line.strip().partition(":")
        if line.strip() == "]":
            nested.pop()
        elif not line.startswith("  ") or not colon:
            break
        elif value == "[":
            nested[-1][key] = {}
            nested.append(nested[-1][key])
        else:
            nested[-1][key] = value.strip() if key == "name" else _literal(value.strip())
    return options


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _go(text: str) -> _Go:
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
    assert start is not None  # only logs of trainings that began are read
    return _Go(*start, progress, finished)


def _iterations(goes: list[_Go], checkpoint: Path, told: int | None, total: int, folder: Path) -> int:
    """Up to the checkpoint, as it tells itself, else by its name or, for the last one, by the logs."""
    logged = [total for go in goes if go.finished] + [i for go in goes for i, _ in go.progress]
    number = checkpoint.stem.rpartition("_")[2]
    told = int(number) if told is None and number.isdecimal() else told
    if not logged or (told is not None and told > max(logged)):
        raise ValueError(
            f"{folder}: its logs do not reach {checkpoint.name}; name its folder by --experiment"
        )
    return max(logged) if told is None else told


def _seconds(go: _Go, iterations: int) -> float:
    """From the start of a go to its end, or to where it reached so many iterations."""
    times = [time for iteration, time in go.progress if iteration >= iterations][:1]
    times = times or ([go.finished] if go.finished else [time for _, time in go.progress[-1:]])
    return (times[0] - go.start).total_seconds() if times else 0.0


def _option_file(folder: Path) -> str:
    """As named on the command line that the toolbox writes at the head of its copy."""
    for copy in sorted(folder.glob("*.yml")):
        if found := _OPTION_FILE.search(copy.read_text(encoding="utf-8")):
            path = PurePath(found[1])
            return path.name if path.is_absolute() else path.as_posix()
    raise ValueError(
        f"{folder}: holds no option file as a training copies it there; name its folder by --experiment"
    )
