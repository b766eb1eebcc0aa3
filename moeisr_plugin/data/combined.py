"""Pictures of several folders or LMDBs as one source."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moeisr_plugin.data.storage import PictureSource
from moeisr_plugin.pictures import Header


class CombinedPictures(PictureSource):
    """The pictures of several sources, one source after the other.

    A key is the number of the source, from 1, and the key in it: "2/baby".

    Args:
        parts: the sources, each with at least one picture.
    """

    def __init__(self, parts: Sequence[PictureSource]):
        places = {
            f"{number}/{key}": (number - 1, key) for number, part in enumerate(parts, 1) for key in part.keys
        }
        names = {key: parts[index].path_of(inner) for key, (index, inner) in places.items()}
        super().__init__(Path(), names, max_pixels=parts[0].max_pixels)
        self.keys = list(places)
        self._parts = parts
        self._places = places

    @property
    def label(self) -> str:
        return ", ".join(dict.fromkeys(part.label for part in self._parts))

    def folder_of(self, index: int) -> int:
        return self._places[self.keys[index]][0]

    def _header(self, key: str) -> Header:
        index, inner = self._places[key]
        return self._parts[index]._header(inner)

    def _read(self, key: str) -> np.ndarray:
        index, inner = self._places[key]
        return self._parts[index]._read(inner)
