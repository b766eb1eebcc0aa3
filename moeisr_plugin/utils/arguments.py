"""Command-line parsing."""

import argparse
from pathlib import Path
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """Argument parser that reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 after one line on stderr."""
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def parse_path(text: str) -> Path:
    """Return a path.

    Raises:
        argparse.ArgumentTypeError: the text is empty, as an unset variable of a shell is. A path would be the
            current folder.
    """
    if not text:
        raise argparse.ArgumentTypeError("is an empty name; name a file or folder, such as . for this folder")
    return Path(text)
