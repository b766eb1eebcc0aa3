"""What `moeisr upscale` prints: results to stdout, everything else to stderr."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from moeisr_plugin.commands.programs import discard_stdout
from moeisr_plugin.utils.messages import printable
from moeisr_plugin.utils.progress import Bar


@dataclass(frozen=True)
class Report:
    """Printer of a run. Its lines do not disturb a progress bar.

    Attributes:
        program: printed before notes and errors.
        quiet: whether only errors are printed.
        verbose: whether details are printed as well.
        leads: whether this process prints what concerns all processes of a run, such as progress.
    """

    program: str
    quiet: bool = False
    verbose: bool = False
    leads: bool = True

    @property
    def shows_progress(self) -> bool:
        """Whether progress bars are shown: only on a terminal, and once."""
        return self.leads and not self.quiet and sys.stderr.isatty()

    def result(self, line: str) -> None:
        """Print a result. Ignore errors of the terminal, because the picture is already written."""
        if self.quiet:
            return
        try:
            _write(printable(line), sys.stdout)
            sys.stdout.flush()
        except OSError:
            discard_stdout()

    def note(self, line: str) -> None:
        """Print a note. The run continues."""
        if not self.quiet:
            _write(f"{self.program}: {printable(line)}", sys.stderr)

    def detail(self, line: str) -> None:
        """Print what is only of interest with --verbose."""
        if self.verbose:
            _write(printable(line), sys.stderr)

    def closing(self, line: str) -> None:
        """Print the last line of a run."""
        if not self.quiet:
            _write(printable(line), sys.stderr)

    def error(self, line: str) -> None:
        """Print an error. The run continues."""
        _write(f"{self.program}: {line}", sys.stderr)

    @contextmanager
    def progress(self, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Show a progress bar if there is more than one item. Yield a function that sets it to a number."""
        with Bar(total=total, unit=unit, disable=not self.shows_progress or total == 1) as bar:

            def show(number: int) -> None:
                bar.update(number - bar.n)

            yield show

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
        with Bar(desc=name, bar_format="{desc} ...", leave=False, disable=not self.shows_progress):
            yield


def _write(line: str, stream: TextIO) -> None:
    """Print a line at once, so that the lines of several processes do not mix, and beside a progress bar."""
    Bar.write(f"{line}\n", file=stream, end="")
