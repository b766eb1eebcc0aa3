"""Enlarge one picture: read it, render it and write it."""

import math
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moeisr_plugin.commands.budgets import Budget
from moeisr_plugin.commands.depth import bands_with_8_bits, must_be_reduced, with_8_bits
from moeisr_plugin.commands.jobs import Job
from moeisr_plugin.commands.memory import check_memory_of_input, check_memory_of_output
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import (
    AlreadyLargeError,
    Target,
    displayed_output_size,
    displayed_window_size,
)
from moeisr_plugin.commands.streams import name_of, read_input
from moeisr_plugin.commands.targets import check_target, prepare_target
from moeisr_plugin.commands.windows import TargetWindow
from moeisr_plugin.pictures import (
    Picture,
    PictureError,
    check_format_fits,
    lost_metadata,
    picture_format,
    upright,
    write_bands,
    write_picture,
    writes_in_bands,
)
from moeisr_plugin.utils.shortage import in_bytes

if TYPE_CHECKING:
    from moeisr_plugin.render.window import Window
    from moeisr_plugin.upscaler import EncodedPicture, Upscaler


@dataclass(frozen=True)
class Settings:
    """How pictures are enlarged.

    Attributes:
        target: the requested scale or size.
        budget: cost of decoding. None for the routing of the mapper.
        max_pixels: limit of inputs, and of outputs that are not written band by band.
        replace: whether existing outputs are replaced.
        quality: quality of formats that have one. None for the default of the format.
        accept_truncated: whether to enlarge files that lack their end.
        window: the part to enlarge. None for the whole picture.
    """

    target: Target
    budget: Budget | None
    max_pixels: int
    replace: bool
    quality: int | None = None
    accept_truncated: bool = False
    window: TargetWindow | None = None

    @property
    def label(self) -> str:
        """What the names of outputs say about their size and part."""
        return self.target.label if self.window is None else f"{self.target.label}_{self.window.label}"


@dataclass(frozen=True)
class Prepared:
    """A picture that is ready to be enlarged.

    Attributes:
        job: the paths.
        picture: the input.
        like: the input with the depth of the output.
        size: (H, W) of the output as stored, before the EXIF orientation is applied.
        window: the part of the stored picture that is enlarged. None for all of it.
    """

    job: Job
    picture: Picture
    like: Picture
    size: tuple[int, int]
    window: "Window | None" = None

    @property
    def summary(self) -> str:
        """The output and its displayed size."""
        width, height = self.picture.oriented_size(self.size)
        return f"{self.job.output} {width}x{height}"


def prepare(job: Job, upscaler: "Upscaler", settings: Settings, report: Report) -> Prepared:
    """Read the picture of a job, and check everything that is known before the work.

    Raises:
        AlreadyLargeError: the picture is at least as large as the requested size.
        ValueError: the picture cannot be read or enlarged, or the output cannot be written.
    """
    for target in job.targets:
        check_target(target)
    existing = [target for target in job.targets if target.exists()]
    if existing and not settings.replace:
        raise ValueError(f"{existing[0]}: already exists; choose another -o or add --overwrite")
    picture = read_input(
        job.source,
        max_pixels=settings.max_pixels,
        check=partial(check_memory_of_input, upscaler=upscaler),
        accept_truncated=settings.accept_truncated,
    )
    if picture.note is not None:
        report.note(f"{name_of(job.source)}: {picture.note}")
    return fitted(job, picture, upscaler, settings, report)


def fitted(job: Job, picture: Picture, upscaler: "Upscaler", settings: Settings, report: Report) -> Prepared:
    """Check that the picture of a job can be enlarged and written.

    Raises:
        AlreadyLargeError: the picture is at least as large as the requested size.
        ValueError: the picture cannot be enlarged, or the output cannot be written.
    """
    window = _stored_window(job, picture, settings)
    size = _stored_output_size(job, picture, settings)
    reduced = must_be_reduced(picture, job.output)
    like = with_8_bits(picture) if reduced else picture
    check_format_fits(job.output, like, size)
    with _named(job.source):
        check_memory_of_output(job.output, like, size, upscaler, window)
    if reduced:
        form = picture_format(job.output)
        report.note(f"{name_of(job.source)}: has 16 bits per sample; {form} holds 8 (png and tiff hold 16)")
    lost = lost_metadata(job.output, picture)
    if lost is not None:
        report.note(f"{name_of(job.source)}: {lost}")
    return Prepared(job, picture, like, size, window)


def enlarge(prepared: Prepared, upscaler: "Upscaler", settings: Settings, report: Report) -> None:
    """Render a picture and write it, with its expert map if the job has one.

    Raises:
        ValueError: the output cannot be rendered or written.
    """
    job, picture = prepared.job, prepared.picture
    for path in job.targets:
        prepare_target(path)
    _warn_of_low_disk_space(prepared, report)
    start = time.perf_counter()
    with _named(job.source):
        encoded = encode(prepared, upscaler, settings)
        seconds_of_encoding = time.perf_counter() - start
        write_rendered(job.output, prepared, rendered(prepared, encoded), quality=settings.quality)
    if job.expert_map is not None:
        colours = encoded.expert_map() if prepared.window is None else encoded.expert_map(prepared.window)
        if colours is not None:  # None is noted before the work
            write_picture(job.expert_map, Picture(upright(colours, picture.orientation)))
    seconds = time.perf_counter() - start
    report.detail(
        f"{name_of(job.source)}: {_described(picture)}, encoded in {seconds_of_encoding:.2f} s, "
        f"rendered and written in {seconds - seconds_of_encoding:.2f} s"
    )


def encode(prepared: Prepared, upscaler: "Upscaler", settings: Settings) -> "EncodedPicture":
    """Encode a picture, and route it within the budget if there is one."""
    encoded = upscaler.encode(prepared.picture.pixels)
    if settings.budget is None:
        return encoded
    from moeisr_plugin.render.window import view_of  # needs torch, which parsing does not

    height, width = prepared.picture.pixels.shape[:2]
    view = view_of((height, width), prepared.size, prepared.window)
    # The limit is that of the whole picture at this scale, so that a window equals the same part of it.
    rows, columns = (max(1, round(axis.total)) for axis in view.finer())
    share = settings.budget.of(
        upscaler.net, (height, width), (rows, columns), encoded.layers, math.prod(view.reduction)
    )
    return encoded.within_budget(share)


def rendered(prepared: Prepared, encoded: "EncodedPicture") -> Iterator[np.ndarray]:
    """Return the bands of an encoded picture."""
    if prepared.window is None:
        return encoded.render_bands(size=prepared.size)
    return encoded.render_bands(size=prepared.size, window=prepared.window)


def write_rendered(
    path: Path, prepared: Prepared, bands: Iterable[np.ndarray], *, quality: int | None
) -> None:
    """Write the bands of a picture to a file, with the depth that its format holds."""
    if prepared.like.pixels.dtype != prepared.picture.pixels.dtype:
        bands = bands_with_8_bits(bands)
    write_bands(path, bands, like=prepared.like, size=prepared.size, quality=quality)


def _described(picture: Picture) -> str:
    """Return the displayed size, the channels and the depth of a picture."""
    height, width = picture.oriented_size(picture.pixels.shape[:2])[::-1]
    channels = {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGB and alpha"}
    kind = channels[picture.pixels[0, 0].size]
    return f"{width}x{height} {kind} of {8 * picture.pixels.itemsize} bits"


def _stored_output_size(job: Job, picture: Picture, settings: Settings) -> tuple[int, int]:
    """Return the (height, width) of the output as stored, before the EXIF orientation is applied."""
    max_pixels = sys.maxsize if writes_in_bands(job.output) else settings.max_pixels
    height, width = picture.pixels.shape[:2]
    displayed = picture.oriented_size((height, width))
    with _named(job.source):
        if settings.window is None:
            output = displayed_output_size(settings.target, *displayed, max_pixels=max_pixels)
        else:
            output = displayed_window_size(settings.target, settings.window.extent, max_pixels=max_pixels)
    return picture.oriented_size(output)


def _stored_window(job: Job, picture: Picture, settings: Settings) -> "Window | None":
    """Return the requested part of the picture as stored.

    Raises:
        ValueError: it reaches beyond the picture.
    """
    if settings.window is None:
        return None
    from moeisr_plugin.render.window import Window, checked_window  # needs torch, which parsing does not

    width, height = picture.oriented_size(picture.pixels.shape[:2])
    window = settings.window
    with _named(job.source):
        checked_window((window.top, window.left, window.bottom, window.right), (height, width))
    return Window(*window.stored((width, height), picture.orientation))


@contextmanager
def _named(source: Path) -> Iterator[None]:
    """Prefix the message of a ValueError with the name of the input.

    A PictureError passes unchanged, because its message names the file.
    """
    try:
        yield
    except PictureError:
        raise
    except AlreadyLargeError as error:
        raise AlreadyLargeError(f"{name_of(source)}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name_of(source)}: {error}") from None


def _warn_of_low_disk_space(prepared: Prepared, report: Report) -> None:
    """Warn if the uncompressed picture exceeds the free disk space. The compressed one may still fit."""
    path = prepared.job.output
    needed = math.prod(prepared.size) * prepared.like.pixels[0, 0].nbytes
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        report.note(f"{path}: may need up to {in_bytes(needed)}, but {in_bytes(free)} are free")
