"""Storage of pictures: a folder, an LMDB in the format of the toolbox, or memory.

All list the same pictures in the same order, so a seed gives the same training on each of them.
"""

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.utils import get_root_logger

from moeisr_plugin.data.decode import decode_rgb
from moeisr_plugin.data.lmdb_environment import read_value
from moeisr_plugin.data.lmdb_pages import check_database
from moeisr_plugin.data.shared_arrays import SharedArrays
from moeisr_plugin.pictures import (
    MAX_PIXELS,
    Header,
    check_size,
    decode_header,
    errors_with_path,
    is_picture_name,
)

# Name, height, width, channels, compression level.
_LISTING_LINE = re.compile(r"(.+\.\w+)\s+\((\d{1,9}),(\d{1,9}),(\d)\)(\s+\d+)?\s*")


class PictureSource(ABC):
    """Indexed pictures below a root.

    Args:
        root: folder or LMDB.
        names: relative path of each picture by its key. The key is the path without the suffix.
        max_pixels: refuse larger pictures.

    Attributes:
        keys: the keys in the order of the indices. They are sorted, except in the result of `take`.
    """

    def __init__(self, root: Path, names: Mapping[str, str], *, max_pixels: int = MAX_PIXELS):
        if not names:
            raise ValueError(
                f"{root}: no picture found; correct the dataroot, or include subfolders (recursive: true)"
            )
        self.root = root
        self.names = names
        self.max_pixels = max_pixels
        self.keys = sorted(names)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, keys: Iterable[str]) -> "PictureSource":
        """Return a source with only these pictures, in this order."""
        subset = copy.copy(self)
        subset.keys = list(keys)
        return subset

    @property
    def label(self) -> str:
        """The root for messages."""
        return str(self.root)

    def path_of(self, key: str) -> str:
        """Return the path for messages and result names; for an LMDB, the path it would have in a folder."""
        return str(self.root / self.names[key])

    def path(self, index: int) -> str:
        """Return `path_of` the picture at an index."""
        return self.path_of(self.keys[index])

    def folder_of(self, index: int) -> int:
        """Return the number of the folder that a picture is in, from 0."""
        return 0

    def header(self, index: int) -> Header:
        """Return the size and the channels without decoding the picture.

        Raises:
            PictureError: the picture is missing, too large or of an unsupported layout, or the file is not a
                picture; one line with its path.
        """
        with errors_with_path(self.path(index)):
            return self._header(self.keys[index])

    def read(self, index: int) -> np.ndarray:
        """Return the picture, (H, W, 3) RGB, uint8 or uint16.

        Raises:
            PictureError: the picture is missing, damaged or differs from its header; one line with its path.
        """
        with errors_with_path(self.path(index)):
            return self._read(self.keys[index])

    @abstractmethod
    def _header(self, key: str) -> Header: ...

    @abstractmethod
    def _read(self, key: str) -> np.ndarray: ...


class FolderPictures(PictureSource):
    """Picture files in a folder. Hidden files and files without a suffix of a picture are ignored.

    Args:
        root: the folder.
        recursive: include subfolders.
        max_pixels: refuse larger pictures.
    """

    def __init__(self, root: str | Path, *, recursive: bool = False, max_pixels: int = MAX_PIXELS):
        root = Path(root)
        if not root.is_dir():
            raise ValueError(f"{root}: no such folder; correct the dataroot")
        if (root / "data.mdb").exists():
            raise ValueError(f"{root}: an LMDB, not a folder of pictures; set io_backend: {{type: lmdb}}")
        below = [path.relative_to(root) for path in (root.rglob("*") if recursive else root.iterdir())]
        visible = [path for path in below if not any(part.startswith(".") for part in path.parts)]
        pictures = [path for path in visible if is_picture_name(path)]
        super().__init__(root, _names_by_key(root, pictures), max_pixels=max_pixels)

    def _header(self, key: str) -> Header:
        with open(self.root / self.names[key], "rb") as file:
            return decode_header(file, max_pixels=self.max_pixels)

    def _read(self, key: str) -> np.ndarray:
        return decode_rgb((self.root / self.names[key]).read_bytes(), max_pixels=self.max_pixels)


class LmdbPictures(PictureSource):
    """Encoded pictures in an LMDB. Its meta_info.txt lists them in lines `name.png (h,w,c) level`.

    Args:
        root: folder of the LMDB with data.mdb and meta_info.txt; its name ends in .lmdb.
        max_pixels: refuse larger pictures.
    """

    def __init__(self, root: str | Path, *, max_pixels: int = MAX_PIXELS):
        root = Path(root)
        if root.suffix != ".lmdb":
            raise ValueError(
                f"{root}: the name of an LMDB must end in .lmdb; rename it or correct the dataroot"
            )
        for file in (root / "data.mdb", root / "meta_info.txt"):
            if not file.is_file():
                raise ValueError(f"{file}: no such file; make the LMDB again or correct the dataroot")
        check_database(root / "data.mdb")
        self._headers: dict[str, Header] = {}
        names = []
        for name, header in _read_listing(root / "meta_info.txt"):
            names.append(Path(name))
            self._headers[_key(names[-1])] = header
        super().__init__(root, _names_by_key(root, names), max_pixels=max_pixels)

    def _header(self, key: str) -> Header:
        check_size(self._headers[key], self.max_pixels)
        return self._headers[key]

    def _read(self, key: str) -> np.ndarray:
        try:
            value = read_value(self.root, key)
        except OSError as error:
            raise ValueError(f"the LMDB cannot be read ({error}); copy or make it again") from error
        try:
            picture = decode_rgb(value, max_pixels=self.max_pixels)
        except ValueError as error:
            raise ValueError(f"key {key!r}: {error}, then make the LMDB again") from error
        height, width = self._headers[key][:2]
        if picture.shape[:2] != (height, width):
            h, w = picture.shape[:2]
            raise ValueError(
                f"key {key!r} holds {h}x{w} pixels where meta_info.txt says {height}x{width}; "
                "make the LMDB again"
            )
        return picture


def name_in_line(line: str) -> str:
    """Return the picture name in a line of a meta_info_file: `name.png (h,w,c) level`, or only the name."""
    match = _LISTING_LINE.fullmatch(line) or re.fullmatch(r"\s*(.+\.\w+)\s*", line)
    return match[1] if match else line.split(" (")[0].strip()


def _read_listing(listing: Path) -> Iterator[tuple[str, Header]]:
    """Yield the names and headers in a meta_info.txt."""
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{listing}: is not UTF-8 text; make the LMDB again") from None
    if not any(line.strip() for line in lines):
        raise ValueError(f"{listing}: lists no picture; make the LMDB again")
    for number, line in enumerate(lines, start=1):
        match = _LISTING_LINE.fullmatch(line)
        if match is not None:
            name, height, width, channels, _ = match.groups()
            yield name, Header(int(height), int(width), has_alpha=channels == "4", is_grey=channels == "1")
        elif line.strip():
            raise ValueError(
                f"{listing}: line {number} is {line!r}, not 'name.png (h,w,c) level'; make the LMDB again"
            )


class PicturesInMemory(PictureSource):
    """The decoded pictures of another source in shared memory. This process reads all of them at the start.

    A bad picture raises its error on access.
    """

    def __init__(self, source: PictureSource):
        super().__init__(source.root, source.names, max_pixels=source.max_pixels)
        self.keys = source.keys
        self._label = source.label
        self._folders = {key: source.folder_of(index) for index, key in enumerate(source.keys)}
        self._headers: dict[str, Header] = {}
        self._errors: dict[str, Exception] = {}
        self._pictures = SharedArrays(self._decode_all(source))
        self._array_index = {key: index for index, key in enumerate(self._headers)}
        megabytes = self._pictures.nbytes / 2**20
        get_root_logger().info(f"{self.label}: {len(self)} pictures kept in memory, {megabytes:.0f} MiB.")

    @property
    def label(self) -> str:
        return self._label

    def folder_of(self, index: int) -> int:
        return self._folders[self.keys[index]]

    def _decode_all(self, source: PictureSource) -> Iterator[np.ndarray]:
        """Yield the good pictures in order; record their headers and the errors of bad pictures."""
        for key in self.keys:
            try:
                header, picture = source._header(key), source._read(key)
            except (OSError, ValueError) as error:
                self._errors[key] = error
            else:
                self._headers[key] = header
                yield picture

    def _header(self, key: str) -> Header:
        self._raise_error(key)
        return self._headers[key]

    def _read(self, key: str) -> np.ndarray:
        self._raise_error(key)
        return self._pictures[self._array_index[key]]

    def _raise_error(self, key: str) -> None:
        if key in self._errors:
            raise self._errors[key]


def _key(path: Path) -> str:
    return path.with_suffix("").as_posix()


def _names_by_key(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    names: dict[str, str] = {}
    for path in sorted(paths):
        other = names.setdefault(_key(path), path.as_posix())
        if other != path.as_posix():
            raise ValueError(f"{root}: {other} and {path} differ only in the suffix; rename one")
    return names


def open_pictures(opt: Mapping[str, Any], dataroot: str) -> PictureSource:
    """Open the pictures of a dataset.

    Args:
        opt: options of a dataset:
            io_backend: {type: disk | lmdb}, default disk.
            recursive: include subfolders, default false.
            max_pixels: refuse larger pictures, default 2**28.
        dataroot: the key of `opt` with the folder or the LMDB.

    Raises:
        ValueError: the options or the pictures are unsuitable; one line.
    """
    root = opt.get(dataroot)
    if not isinstance(root, str):
        raise ValueError(f"{dataroot} is {root!r}; give a folder or an LMDB")
    backend = (opt.get("io_backend") or {}).get("type", "disk")
    max_pixels = opt.get("max_pixels", MAX_PIXELS)
    if backend == "disk":
        return FolderPictures(root, recursive=opt.get("recursive", False), max_pixels=max_pixels)
    if backend == "lmdb":
        return LmdbPictures(root, max_pixels=max_pixels)
    raise ValueError(f"io_backend type is {backend!r}; give disk or lmdb")
