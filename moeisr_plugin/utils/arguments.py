"""Command-line parsing."""

import argparse
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """Argument parser that reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 after one line on stderr."""
        self.exit(2, f"{self.prog}: {message} (see --help)\n")
