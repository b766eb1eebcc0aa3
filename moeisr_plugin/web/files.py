"""Enlarged pictures as files to download, made in the background."""

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from moeisr_plugin.pictures import Picture
from moeisr_plugin.upscaler import Upscaler
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.shortage import memory_shortage
from moeisr_plugin.web.encodings import Routed
from moeisr_plugin.web.held_pictures import HeldPicture, HeldPictures
from moeisr_plugin.web.limits import Limits
from moeisr_plugin.web.refused import RefusedError, StoppedError
from moeisr_plugin.web.turns import Turns

SUFFIXES = ("png", "tiff", "jpg")


@dataclass(frozen=True)
class Order:
    """A file that is wanted.

    Attributes:
        width, height: size in pixels as displayed.
        suffix: the format, one of `SUFFIXES`.
        quality: quality of a JPEG; None for the default.
    """

    width: int
    height: int
    suffix: str
    quality: int | None = None


@dataclass(frozen=True)
class Fitted:
    """An order that has been checked.

    Attributes:
        size: (H, W) as stored.
        notes: lines on what the file cannot hold.
        write: writes the file from bands of rows.
    """

    size: tuple[int, int]
    notes: list[str]
    write: Callable[[Iterable[np.ndarray]], None]


Fit = Callable[[Path, str, Picture, Upscaler, Order], Fitted]
"""Checks an order for a path, a name, a picture and a network. Raises ValueError if it cannot be done."""


@dataclass
class _File:
    """A file that is being made, ready or failed."""

    picture: str
    path: Path
    rows: int
    notes: list[str]
    done: int = 0
    state: str = "waiting"
    started: float = 0.0
    error: str | None = None
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))


class Files:
    """Make and hold files.

    Args:
        folder: a folder for them, which the caller removes at the end.
        pictures: the pictures that are held; files of others are removed.
        turns: turns of the computations.
        fit: checks an order.
        limits: the number of files.
    """

    def __init__(self, folder: Path, pictures: HeldPictures, turns: Turns, fit: Fit, limits: Limits) -> None:
        self._folder = folder
        self._pictures = pictures
        self._turns = turns
        self._fit = fit
        self._limits = limits
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._is_closed = False

    def start(self, held: HeldPicture, routed: Routed, order: Order) -> dict[str, Any]:
        """Begin to make a file, and return its progress.

        Raises:
            RefusedError: too many files are being made.
            ValueError: the file cannot be made.
        """
        name = f"{Path(held.name).stem or 'picture'}_{order.width}x{order.height}.{order.suffix}"
        path = self._folder / secrets.token_hex(8) / name
        fitted = self._fit(path, held.name, held.picture, routed.upscaler, order)
        file = _File(held.key, path, fitted.size[0], fitted.notes)
        with self._lock:
            self._make_room()
            self._files[file.key] = file
        arguments = (held, routed, fitted, file)
        threading.Thread(target=self._make, args=arguments, daemon=True).start()
        return self.progress(file.key)

    def progress(self, key: str) -> dict[str, Any]:
        """Return the state of a file.

        Raises:
            RefusedError: it is not held, or no longer.
        """
        file = self._file(key)
        found: dict[str, Any] = {
            "key": file.key,
            "state": file.state,
            "done": file.done,
            "total": file.rows,
            "notes": file.notes,
            "name": file.path.name,
        }
        if file.state == "running" and file.done:
            elapsed = time.monotonic() - file.started
            found["seconds_left"] = round(elapsed / file.done * (file.rows - file.done), 1)
        if file.error is not None:
            found["error"] = file.error
        return found

    def path(self, key: str) -> Path:
        """Return the path of a file that is ready.

        Raises:
            RefusedError: it is not ready.
        """
        file = self._file(key)
        if file.state != "ready":
            raise RefusedError(file.error or "the file is not ready yet; wait until it is", 409)
        return file.path

    def remove(self, key: str) -> None:
        """Stop making a file, and remove it. Do nothing if it is not held."""
        with self._lock:
            file = self._files.pop(key, None)
        if file is not None and file.state in ("ready", "failed"):
            shutil.rmtree(file.path.parent, ignore_errors=True)

    def drop_forgotten(self) -> None:
        """Remove the files of pictures that are no longer held."""
        for key, file in list(self._files.items()):
            if not self._pictures.holds(file.picture):
                self.remove(key)

    def close(self) -> None:
        """Stop what is being made, after its present step."""
        self._is_closed = True

    def _file(self, key: str) -> _File:
        with self._lock:
            if key not in self._files:
                raise RefusedError("this file is no longer held; make it again", 404)
            return self._files[key]

    def _make_room(self) -> None:
        """Remove the oldest files that are not being made. The caller holds the lock."""
        while len(self._files) >= self._limits.files:
            ended = [key for key, file in self._files.items() if file.state in ("ready", "failed")]
            if not ended:
                raise RefusedError("too many files are being made; wait for one of them", 503)
            shutil.rmtree(self._files.pop(ended[0]).path.parent, ignore_errors=True)

    def _make(self, held: HeldPicture, routed: Routed, fitted: Fitted, file: _File) -> None:
        """Make a file, in a thread of its own."""
        try:
            file.path.parent.mkdir()
            with self._turns.patient():
                file.state, file.started = "running", time.monotonic()
                fitted.write(self._counted(routed.encoded.render_bands(size=fitted.size), file))
            file.state = "ready"
        except StoppedError:
            file.error, file.state = "the file was cancelled", "failed"
        except Exception as error:
            file.error = memory_shortage(error) or _without_folder(one_line(error), file.path)
            file.state = "failed"
            if not isinstance(error, ValueError | OSError | RuntimeError | MemoryError):
                raise
        finally:
            if file.key not in self._files or self._is_closed:
                shutil.rmtree(file.path.parent, ignore_errors=True)

    def _counted(self, bands: Iterable[np.ndarray], file: _File) -> Iterator[np.ndarray]:
        """Yield bands. Between them, let views compute, and end if nobody wants the file any longer."""
        for band in bands:
            if file.key not in self._files or self._is_closed:
                raise StoppedError
            file.done += len(band)
            yield band
            self._turns.make_way()


def _without_folder(line: str, path: Path) -> str:
    """Return a line that names the file as the user knows it."""
    return line.replace(f"{path.parent}/", "").replace(str(path.parent), "")
