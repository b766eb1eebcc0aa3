"""Paths that are no files, and must neither be waited for nor be replaced."""

import os
import stat
from pathlib import Path

KINDS = {
    "folder": "is a folder",
    "pipe": "is a pipe",
    "device": "is a device",
    "link to a pipe": "is a pipe",
    "link to nothing": "is a symbolic link to nowhere, which does not exist",
    "loop": "is a symbolic link that leads to itself",
}
"""What is at a path, and how messages call it."""


def make_special(path: Path, kind: str) -> None:
    """Make one of `KINDS` at a path."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        if kind == "link to a pipe":
            os.mkfifo(path.with_name("pipe"))
        targets = {"device": "/dev/null", "link to a pipe": "pipe", "link to nothing": "nowhere"}
        path.symlink_to(targets.get(kind, path.name))


def state(path: Path) -> tuple:
    """Return what tells whether a path was replaced."""
    found = os.lstat(path)
    is_link = stat.S_ISLNK(found.st_mode)
    return found.st_mode, found.st_ino, os.readlink(path) if is_link else None
