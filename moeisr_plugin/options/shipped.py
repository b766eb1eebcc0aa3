"""The option files that come with the package."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = (PACKAGE / "option_files", PACKAGE.parent / "options")
"""Where the option files are: in an installed package, and in a checkout."""

BASES = "_base_"
"""Folder of files that are parts of others."""


def shipped_options() -> dict[str, Path]:
    """Return the option files of trainings and tests by name, which is the file name without the suffix.

    Empty if this installation has none.
    """
    folder = _folder()
    files = sorted(folder.rglob("*.yml")) if folder is not None else []
    return {file.stem: file for file in files if BASES not in file.parts}


def located_options(path: str | os.PathLike[str]) -> str:
    """Return the option file that a command line names.

    Args:
        path: a file. If there is no such file, it may name a shipped one: by its name, such as
            ``train_EDSR_LIIF``, with or without the suffix, or by its path in a checkout, which begins with
            ``options/``.

    Returns:
        The path of the shipped file, or `path` unchanged.
    """
    given, folder = Path(path), _folder()
    if given.exists() or folder is None:
        return os.fspath(path)
    if given.parts[:1] == ("options",):
        file = folder.joinpath(*given.parts[1:])
        return os.fspath(file if file.is_file() else path)
    return os.fspath(shipped_options().get(str(path).removesuffix(".yml"), path))


def _folder() -> Path | None:
    return next((folder for folder in FOLDERS if (folder / BASES).is_dir()), None)
