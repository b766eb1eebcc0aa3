"""What `moeisr upscale` prints: results to stdout, everything else to stderr."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tqdm import tqdm

from moeisr_plugin.commands.programs import discard_stdout
from moeisr_plugin.utils.messages import printable

Item = TypeVar("Item")


@dataclass(frozen=True)
class Report:
    """Printer of a run. Its lines do not disturb a progress bar.

    Attributes:
        program: printed before notes and errors.
        quiet: whether only errors are printed.
        verbose: whether details are printed as well.
    """

    program: str
    quiet: bool = False
    verbose: bool = False

    @property
    def shows_progress(self) -> bool:
        """Whether progress bars are shown: only on a terminal."""
        return not self.quiet and sys.stderr.isatty()

    def result(self, line: str) -> None:
        """Print a result. Ignore errors of the terminal, because the picture is already written."""
        if self.quiet:
            return
        try:
            tqdm.write(printable(line))
            sys.stdout.flush()
        except OSError:
            discard_stdout()

    def note(self, line: str) -> None:
        """Print a note. The run continues."""
        if not self.quiet:
            tqdm.write(f"{self.program}: {printable(line)}", file=sys.stderr)

    def detail(self, line: str) -> None:
        """Print what is only of interest with --verbose."""
        if self.verbose:
            tqdm.write(printable(line), file=sys.stderr)

    def closing(self, line: str) -> None:
        """Print the last line of a run."""
        if not self.quiet:
            tqdm.write(printable(line), file=sys.stderr)

    def error(self, line: str) -> None:
        """Print an error. The run continues."""
        tqdm.write(f"{self.program}: {line}", file=sys.stderr)

    def each(self, items: Iterable[Item], unit: str) -> Iterable[Item]:
        """Return the items with a progress bar, if there is more than one."""
        items = list(items)
        return tqdm(items, unit=unit, disable=not self.shows_progress or len(items) == 1)

    @contextmanager
    def log(self) -> Iterator[None]:
        """Print the log of this package, but only its errors if only errors are printed."""
        log = logging.getLogger("moeisr_plugin")
        level = log.level
        if self.quiet:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show the name of a stage of unknown length on a terminal while it lasts."""
        with tqdm(desc=name, bar_format="{desc} ...", leave=False, disable=not self.shows_progress):
            yield
