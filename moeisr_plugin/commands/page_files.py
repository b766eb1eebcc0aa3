"""Write the files that the page of `moeisr web` offers, as `moeisr upscale` does."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moeisr_plugin.commands.enlarging import Settings, fitted, write_rendered
from moeisr_plugin.commands.jobs import Job
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import TargetSize

if TYPE_CHECKING:
    import numpy as np

    from moeisr_plugin.pictures import Picture
    from moeisr_plugin.upscaler import Upscaler
    from moeisr_plugin.web.files import Fitted, Order


@dataclass(frozen=True)
class Notes(Report):
    """A report that keeps its notes.

    Attributes:
        notes: the lines, without the name of the picture.
    """

    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Keep a note."""
        self.notes.append(line)


def fit(
    path: Path, name: str, picture: "Picture", upscaler: "Upscaler", order: "Order", *, max_pixels: int
) -> "Fitted":
    """Check that a picture can be written in the size and the format that are wanted.

    Args:
        path: the file to write. Its folder need not exist yet.
        name: name of the picture, for messages.
        picture: the picture.
        upscaler: the network.
        order: size, format and quality.
        max_pixels: limit of the output in formats that are not written band by band.

    Raises:
        ValueError: it cannot be enlarged or written so.
    """
    from moeisr_plugin.web.files import Fitted

    settings = Settings(
        target=TargetSize(order.width, order.height),
        budget=None,
        max_pixels=max_pixels,
        replace=False,
        quality=order.quality,
    )
    report = Notes("moeisr web")
    try:
        prepared = fitted(Job(Path(name), path, None), picture, upscaler, settings, report)
    except ValueError as error:
        message = str(error).replace(str(path), path.name).replace("--size ", "")
        raise ValueError(message.replace(".png or .tiff", "png or tiff")) from error

    def write(bands: "Iterable[np.ndarray]") -> None:
        write_rendered(path, prepared, bands, quality=order.quality)

    return Fitted(prepared.size, report.notes, write)
