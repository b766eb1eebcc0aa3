"""The content of an LMDB: pictures from folders, whole or cut, and their keys."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from moeisr_plugin.data.storage import FolderPictures
from moeisr_plugin.data.sub_images import SubImages

_MAX_KEY_BYTES = 511  # limit of LMDB


@dataclass(frozen=True)
class Recipe:
    """The content of an LMDB.

    Args:
        folders: folders of pictures. A key is the path of a picture below its folder, without the suffix.
        recursive: include subfolders.
        sub_images: how to cut pictures; None stores them whole.
        compress_level: PNG compression, 0 to 9; 1 is the default of the toolbox.
    """

    folders: Sequence[str | Path]
    recursive: bool = False
    sub_images: SubImages | None = None
    compress_level: int = 1

    def text(self) -> str:
        """Return the recipe as JSON with absolute paths, so that equal recipes have equal text."""
        folders = [str(Path(folder).resolve()) for folder in self.folders]
        return json.dumps(asdict(self) | {"folders": folders}, indent=1)

    def pictures(self) -> list["SourcePicture"]:
        """Return all pictures, sorted by their keys.

        Raises:
            ValueError: a folder has no pictures, or a name cannot be a key; one line.
        """
        if self.compress_level not in range(10):
            raise ValueError(f"compress_level is {self.compress_level}; give 0 to 9")
        pictures: dict[str, SourcePicture] = {}
        for folder in self.folders:
            source = FolderPictures(folder, recursive=self.recursive)
            for index in range(len(source)):
                picture = SourcePicture(source, index, self.sub_images)
                _check_key(picture)
                other = pictures.setdefault(picture.first_key, picture)
                if other is not picture:
                    raise ValueError(
                        f"{other.path} and {picture.path} would both be stored as {picture.first_key!r}; "
                        "rename one or make two LMDBs"
                    )
        return [pictures[key] for key in sorted(pictures)]


class BadPictureError(ValueError):
    """A picture cannot be stored; the message is one line with its path."""


@dataclass(frozen=True)
class SourcePicture:
    """A picture of a folder, stored whole or cut."""

    source: FolderPictures
    index: int
    sub_images: SubImages | None

    @property
    def path(self) -> str:
        return self.source.path(self.index)

    @property
    def first_key(self) -> str:
        """The key of the picture, or of its first sub-image."""
        key = self.source.keys[self.index]
        return key if self.sub_images is None else self.sub_images.key(key, 1)

    def has_alpha(self) -> bool:
        return self.source.header(self.index).has_alpha

    def read(self) -> list[tuple[str, np.ndarray]]:
        """Return (key, pixels) pairs to store; pixels are (h, w, 3) RGB, uint8 or uint16.

        Raises:
            BadPictureError: the picture is damaged or too small to cut.
        """
        key = self.source.keys[self.index]
        try:
            pixels = self.source.read(self.index)
        except ValueError as error:
            raise BadPictureError(str(error)) from error
        if self.sub_images is None:
            return [(key, pixels)]
        try:
            return list(self.sub_images.cut(key, pixels))
        except ValueError as error:
            raise BadPictureError(f"{self.path}: {error}") from error


def _check_key(picture: SourcePicture) -> None:
    key = picture.first_key
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{picture.path!r}: the name is not UTF-8; rename it") from None
    if length > _MAX_KEY_BYTES:
        raise ValueError(
            f"{picture.path}: the key has {length} bytes, more than {_MAX_KEY_BYTES}; rename the file"
        )
    if key.splitlines() != [key]:
        raise ValueError(f"{picture.path!r}: the name has a line break; rename the file")
