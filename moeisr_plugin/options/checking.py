"""Check options: each key, combinations of keys, and files on the disk."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from moeisr_plugin.options.contradictions import contradictions
from moeisr_plugin.options.files import missing_files
from moeisr_plugin.options.runs import Run
from moeisr_plugin.options.schema import schema


class Problem(NamedTuple):
    """A problem that prevents the use of options."""

    path: str  # of the key: datasets.train.lr_size
    text: str  # what is wrong and the remedy, in one line

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


class OptionsError(ValueError):
    """Options are not usable; the message has one line for each problem."""

    def __init__(self, lines: Sequence[str]):
        super().__init__("\n".join(lines))
        self.lines = lines


def check(
    opt: Mapping[str, Any], run: Run, *, check_files: bool = True
) -> tuple[OrderedDict[str, Any], list[Problem]]:
    """Check options, and convert numbers that are given as texts.

    Args:
        opt: the options as read.
        run: the settings of the command line.
        check_files: check that pictures, weights and states exist.

    Returns:
        The options with every value in its type, usable if there is no problem; and the problems. Those of
        single keys come first, in the order of the options.
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
    """Return sections of any kind as ordered dictionaries, as the toolbox has them."""
    if isinstance(value, Mapping):
        return OrderedDict((key, _plain(part)) for key, part in value.items())
    return value
