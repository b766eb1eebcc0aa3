"""Check where an output goes before the work starts."""

import os
import stat
from pathlib import Path

from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.regular_files import special_kind


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
    """Create the folder of an output, and check that the output can be written there.

    Raises:
        ValueError: it cannot; one line with the remedy.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise ValueError(f"{path.parent}: is not writable; choose another -o")
    except FileExistsError:
        raise ValueError(f"{path}: {_blocking(path)} is not a folder; choose another -o") from None
    except OSError as error:
        raise ValueError(f"{one_line(error)}; choose another -o") from error


def _check_target(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ValueError(f"{path}: {_blocking(path)} is not a folder; choose another -o") from None
    if stat.S_ISLNK(mode) and not os.path.exists(path):
        raise ValueError(
            f"{path}: is a symbolic link to {os.readlink(path)}, which does not exist; remove the link, or "
            "choose another -o"
        )
    kind = "a folder" if os.path.isdir(path) else special_kind(path)
    if kind is not None:
        raise ValueError(f"{path}: is {kind}; choose another -o, or -o - for standard output")


def _blocking(path: Path) -> Path:
    """Return the part of a path that should be a folder and is not."""
    return next(
        (each for each in reversed(path.parents) if os.path.lexists(each) and not each.is_dir()), path.parent
    )
