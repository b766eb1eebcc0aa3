"""Turn the errors of files and decoders into `PictureError`, whose message is one line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import UnidentifiedImageError

from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.shortage import memory_shortage

from .picture import PictureError, quiet_pillow

SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"qoif": "QOI",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
}


@contextmanager
def errors_with_path(path: str | Path) -> Iterator[None]:
    """Turn OSError and ValueError into `PictureError` with the path at the start of the message.

    Raises:
        PictureError: for any OSError or ValueError.
    """
    try:
        yield
    except FileNotFoundError:
        raise PictureError(f"{path}: there is no such file; check the name") from None
    except PermissionError:
        raise PictureError(f"{path}: may not be read; check its permissions") from None
    except IsADirectoryError:
        raise PictureError(f"{path}: is a folder; name a picture in it") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR):
            raise PictureError(one_line(error)) from error
        raise PictureError(f"{path}: cannot be read ({error.strerror or error}); check the disk") from error
    except ValueError as error:
        raise PictureError(f"{path}: {error}") from error


@contextmanager
def decoder_errors_as_picture_errors(file: BinaryIO) -> Iterator[None]:
    """Turn every exception of a decoder of a file into a `PictureError`; damaged data raise many types."""
    try:
        with quiet_pillow():
            yield
    except (PictureError, MemoryError):
        raise
    except UnidentifiedImageError:
        form = _format_of(file)
        if form is not None:
            raise PictureError(
                f"is a {form} that is damaged or incomplete; copy or export it again"
            ) from None
        raise PictureError("is not a picture of a known format; convert it to PNG first") from None
    except Exception as error:
        if memory_shortage(error):
            raise MemoryError(str(error)) from error
        reason = " ".join(str(error).split())
        if reason.startswith("Unsupported"):
            raise PictureError(
                f"has a layout that is not read ({reason}); convert it to PNG first"
            ) from error
        if " " not in reason:  # a bare key or index
            reason = f"{type(error).__name__} {reason}".strip()
        raise PictureError(f"is damaged or incomplete ({reason}); copy or export it again") from error


def _format_of(file: BinaryIO) -> str | None:
    """Return the format of a file that no decoder recognises, by its first bytes."""
    file.seek(0)
    head = file.read(12)
    if head.startswith(b"RIFF") and head[8:] == b"WEBP":
        return "WebP"
    return next((name for start, name in SIGNATURES.items() if head.startswith(start)), None)
