"""PyAV, which is an optional package."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from moeisr_plugin.utils.messages import one_line


def require_av() -> ModuleType:
    """Import PyAV.

    Raises:
        ValueError: it is not installed, or its libraries cannot be loaded; one line with the remedy.
    """
    try:
        import av
    except ImportError as error:
        remedy = 'pip install "moeisr_plugin[video]" installs it'
        if isinstance(error, ModuleNotFoundError) and error.name == "av":
            raise ValueError(f"videos need PyAV, which is not installed; {remedy}") from error
        raise ValueError(f"PyAV cannot be loaded: {one_line(error)}; {remedy}") from error
    return av


@contextmanager
def errors_of_av(path: Path, doing: str) -> Iterator[None]:
    """Turn an error of FFmpeg into a ValueError of one line.

    Args:
        path: the file, for the message.
        doing: what failed, with the remedy.
    """
    av = require_av()
    try:
        yield
    except av.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"{path}: {doing.format(reason=reason)}") from error
