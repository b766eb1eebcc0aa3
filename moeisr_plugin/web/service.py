"""What the server holds while it runs, put together."""

import asyncio
import io
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from moeisr_plugin.pictures import Picture, PictureError, decode_picture, read_picture
from moeisr_plugin.pictures.picture import TooManyPixelsError
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.web.costs import Costs
from moeisr_plugin.web.encodings import Encodings
from moeisr_plugin.web.files import Files, Fit
from moeisr_plugin.web.held_pictures import HeldPicture, HeldPictures
from moeisr_plugin.web.limits import Limits
from moeisr_plugin.web.networks import Networks
from moeisr_plugin.web.newest import Newest
from moeisr_plugin.web.refused import RefusedError
from moeisr_plugin.web.samples import sample_files
from moeisr_plugin.web.turns import Turns

_SECONDS_BETWEEN_SWEEPS = 20.0
_LONGEST_NAME = 120

Result = TypeVar("Result")


class Service:
    """Pictures, networks, encodings and files of a server.

    Args:
        networks: the networks on offer.
        network: the name of the one that is chosen at first.
        folder: a folder for files, which the caller removes at the end.
        fit: checks orders of files.
        limits: what the server accepts and holds.
    """

    def __init__(self, networks: Networks, *, network: str, folder: Path, fit: Fit, limits: Limits) -> None:
        self.networks = networks
        self.network = network
        self.limits = limits
        self.samples: Mapping[str, Path] = sample_files()
        self.turns = Turns()
        self.pictures = HeldPictures(limits)
        self.encodings = Encodings(self.pictures, networks, self.turns, limits)
        self.files = Files(folder, self.pictures, self.turns, fit, limits)
        self.costs = Costs()
        self.newest = Newest()
        # One thread for the networks, so that torch does not start its own threads for each request.
        self.renderer = ThreadPoolExecutor(1, thread_name_prefix="render")
        self._first: HeldPicture | None = None
        self._ended = threading.Event()

    def open_file(self, path: Path) -> None:
        """Hold the picture that the command line names. Every page begins with it.

        Raises:
            PictureError: it cannot be read.
        """
        self._first = self.pictures.add(path.name, read_picture(path, max_pixels=self.limits.pixels))

    def first_picture(self) -> HeldPicture | None:
        """Return the picture that pages begin with, if any. Hold it again if it was forgotten."""
        if self._first is not None and not self.pictures.holds(self._first.key):
            self._first = self.pictures.add(self._first.name, self._first.picture)
        return self._first

    def open_sample(self, name: str) -> HeldPicture:
        """Hold one of the pictures to try the page with.

        Raises:
            RefusedError: there is no sample of this name.
        """
        picture = read_picture(self.sample_file(name), max_pixels=self.limits.pixels)
        return self.pictures.add(f"{name}.png", picture)

    def sample_file(self, name: str) -> Path:
        """Return the file of a sample.

        Raises:
            RefusedError: there is no sample of this name.
        """
        if name not in self.samples:
            raise RefusedError(f"there is no sample of this name; choose {', '.join(self.samples)}", 404)
        return self.samples[name]

    def run_renderer(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        """Run a computation in the thread of the networks."""
        return asyncio.get_running_loop().run_in_executor(self.renderer, work)

    def open_upload(self, name: str, data: bytes) -> HeldPicture:
        """Hold an uploaded picture.

        Raises:
            RefusedError: it cannot be read, or is too large.
        """
        shown = _plain_name(name)
        try:
            picture: Picture = decode_picture(io.BytesIO(data), max_pixels=self.limits.pixels)
        except TooManyPixelsError as error:
            size = str(error).partition(" ")[0]
            most = self.limits.pixels / 1e6
            raise RefusedError(
                f"{shown}: {size} is more than the {most:g} megapixels of this page; reduce or crop it, or "
                "start moeisr web with --max-pixels",
                413,
            ) from None
        except PictureError as error:
            raise RefusedError(one_line(ValueError(f"{shown}: {error}")), 415) from error
        return self.pictures.add(shown, picture)

    def drop_forgotten(self) -> None:
        """Drop what belongs to pictures that are no longer held."""
        self.encodings.drop_forgotten()
        self.files.drop_forgotten()

    def sweep_regularly(self) -> None:
        """Forget pictures that nobody uses, until the service is closed. Runs in a thread of its own."""
        while not self._ended.wait(min(_SECONDS_BETWEEN_SWEEPS, self.limits.idle_seconds)):
            self.pictures.forget_idle()
            self.drop_forgotten()

    @property
    def has_ended(self) -> bool:
        """Whether the service is closed."""
        return self._ended.is_set()

    def close(self) -> None:
        """Stop all computations, after their present step."""
        self._ended.set()
        self.encodings.close()
        self.files.close()
        self.renderer.shutdown(wait=False, cancel_futures=True)


def _plain_name(name: str) -> str:
    """Return a file name without folders and without characters that are not printed."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printed = "".join(each for each in last if each.isprintable()).strip(" .")
    return printed[-_LONGEST_NAME:] or "picture"
