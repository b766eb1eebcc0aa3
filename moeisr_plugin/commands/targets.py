"""Check where an output goes before the work starts."""

import os
from pathlib import Path

from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.regular_files import obstacle


def check_target(path: Path) -> None:
    """Check that an output can be written to a path, as far as is known without writing.

    Raises:
        ValueError: it cannot; one line with the remedy.
    """
    try:
        _check_target(path)
    except OSError as error:
        raise ValueError(f"{one_line(error)}; choose another -o") from error


def prepare_target(path: Path) -> None:
    """Create the folder of an output.

    Raises:
        ValueError: it cannot be created; one line with the remedy.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{one_line(error)}; choose another -o") from error


def _check_target(path: Path) -> None:
    _check_folder(path)
    kind = obstacle(path)
    if kind is not None:
        remedy = "remove the link, or " if "link" in kind else ""
        raise ValueError(f"{path}: is {kind}; {remedy}choose another -o, or -o - for standard output")


def _check_folder(path: Path) -> None:
    """Check that the folder of a path is a writable folder, or can be created in one."""
    existing = next((each for each in path.parents if os.path.lexists(each)), path.parent)
    if not existing.is_dir():
        kind = obstacle(existing) or "a file"
        raise ValueError(f"{path}: {existing} is {kind}, not a folder; choose another -o")
    if not os.access(existing, os.W_OK):
        raise ValueError(f"{existing}: is not writable; choose another -o")
