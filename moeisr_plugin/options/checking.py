"""Checking options whole: what is in the file, what goes together, what is on the disk."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from moeisr_plugin.options.contradictions import Run, contradictions
from moeisr_plugin.options.files import missing_files
from moeisr_plugin.options.schema import schema


class Problem(NamedTuple):
    """Something that keeps options from being used."""

    path: str  # of the key: datasets.train.lr_size
    text: str  # what is wrong and the remedy, in one line

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


class OptionsError(ValueError):
    """Options that cannot be used; the message has a line for each problem."""

    def __init__(self, lines: Sequence[str]):
        super().__init__("\n".join(lines))
        self.lines = lines


def check(
    opt: Mapping[str, Any], run: Run, *, check_files: bool = True
) -> tuple[OrderedDict[str, Any], list[Problem]]:
    """Checks options, and converts numbers that are given as texts.

    Args:
        opt: the options as read.
        run: what the command line says.
        check_files: whether pictures, weights and states must be there.

    Returns:
        The options with every value in its type, of use if there is no problem; and the problems, in the
        order of the options where a single key is at fault.
    """
    problems: list[Problem] = []

    def report(path: str, text: str) -> None:
        problems.append(Problem(path, text))

    sound = schema(opt, is_train=run.is_train).apply(opt, "", report)
    for path, text in contradictions(sound, run):
        report(path, text)
    if check_files:
        for path, text in missing_files(sound, run):
            report(path, text)
    return _plain(sound), problems


def _plain(value: Any) -> Any:
    """Sections of any kind as ordered dictionaries, as the toolbox has them."""
    if isinstance(value, Mapping):
        return OrderedDict((key, _plain(part)) for key, part in value.items())
    return value
