"""Check the file of weights that a command is to write."""

from pathlib import Path

SUFFIXES = (".pth", ".safetensors")
FORMATS = " or ".join(SUFFIXES)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Check the name of a file of weights before the work begins.

    Raises:
        ValueError: the suffix names no format of weights, the path is a folder, or the file exists and
            `overwrite` is false; one line.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: unknown format; use the suffix {FORMATS}")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; choose another name")
    if path.exists() and not overwrite:
        raise ValueError(f"{path}: already exists; choose another name or add --overwrite")
