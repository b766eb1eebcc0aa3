"""Check the file of weights that a command is to write."""

from pathlib import Path

from moeisr_plugin.utils.regular_files import require_replaceable

SUFFIXES = (".pth", ".safetensors")
FORMATS = " or ".join(SUFFIXES)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Check the name of a file of weights before the work begins.

    Raises:
        ValueError: the suffix names no format of weights, or the file exists and `overwrite` is false; one
            line.
        OSError: the path is a folder, a pipe, a device or a link to nothing, or cannot be reached.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: unknown format; use the suffix {FORMATS}")
    require_replaceable(path)
    if path.exists() and not overwrite:
        raise ValueError(f"{path}: already exists; choose another name or add --overwrite")
