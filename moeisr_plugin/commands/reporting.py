"""What `moeisr upscale` prints: results to stdout, everything else to stderr."""

import sys
from contextlib import suppress
from dataclasses import dataclass

from tqdm import tqdm


@dataclass(frozen=True)
class Report:
    """Printer of a run. Its lines do not disturb a progress bar.

    Attributes:
        program: printed before notes and errors.
    """

    program: str

    def result(self, line: str) -> None:
        """Print a result. Ignore errors of the terminal, because the picture is already written."""
        with suppress(OSError, UnicodeEncodeError):
            tqdm.write(line)

    def note(self, line: str) -> None:
        """Print what the user should know of a run that goes on."""
        tqdm.write(f"{self.program}: {line}", file=sys.stderr)

    def error(self, line: str) -> None:
        """Print a failure of a run that goes on."""
        tqdm.write(f"{self.program}: {line}", file=sys.stderr)
