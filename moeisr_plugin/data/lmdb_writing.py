"""Writing an LMDB in the layout of the toolbox from folders of pictures.

Every picture is stored as a PNG of the RGB pixels that training on the folder uses. So the toolbox decodes
the same pixels, whatever the format, palette, orientation or profile of the file. The LMDB is written to a
`.partial` folder, where an interrupted run resumes. The folder is renamed after all values are verified.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import lmdb
import numpy as np

from moeisr_plugin.data.decode import decode_rgb
from moeisr_plugin.data.lmdb_pages import check_database
from moeisr_plugin.data.lmdb_recipe import BadPictureError, Recipe, SourcePicture
from moeisr_plugin.utils import leftovers
from moeisr_plugin.utils.atomic import atomic_write
from moeisr_plugin.utils.progress import Bar

_FIRST_MAP_SIZE = 2**26
_BYTES_PER_TRANSACTION = 2**25  # bounds the work that an interruption loses
_RECIPE = "recipe.json"  # next to data.mdb until the LMDB is complete

T = TypeVar("T")


@dataclass
class Summary:
    """Result of writing an LMDB.

    Attributes:
        keys: all keys.
        skipped: one line for each bad picture.
        transparent: number of pictures whose alpha was dropped.
    """

    keys: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    transparent: int = 0


def write_lmdb(
    target: str | Path,
    recipe: Recipe,
    *,
    skip_bad_pictures: bool = False,
    threads: int = 1,
    progress: bool = False,
) -> Summary:
    """Write an LMDB, or resume an interrupted run of the same recipe.

    Args:
        target: folder to create when all is done; its name ends in .lmdb.
        recipe: the content.
        skip_bad_pictures: omit bad pictures instead of stopping at the first one.
        threads: number of pictures decoded at the same time.
        progress: show progress bars on stderr.

    Raises:
        BadPictureError: a picture is bad.
        ValueError: the target, the recipe or the files of an earlier run are unsuitable, or a value read back
            differs from its picture; one line.
        OSError: the disk is full, or a file cannot be read or written.
    """
    target = Path(target)
    if target.suffix != ".lmdb":
        raise ValueError(f"{target}: an LMDB's name must end in .lmdb; choose another")
    if os.path.lexists(target):
        raise ValueError(f"{target}: exists already; remove it or choose another name")
    pictures = recipe.pictures()
    building = target.with_name(target.name + ".partial")
    _prepare_folder(building, recipe)
    map_pictures = partial(
        _map_pictures, skip_bad_pictures=skip_bad_pictures, threads=threads, progress=progress
    )
    try:
        with lmdb.open(str(building), map_size=_FIRST_MAP_SIZE) as environment:
            _write(environment, pictures, recipe, map_pictures)
            summary = _verify(environment, building, pictures, recipe, map_pictures)
    except lmdb.Error as error:
        raise OSError(f"{building}: cannot be written ({error}); run the command again to resume") from error
    os.replace(building, target)
    (target / _RECIPE).unlink()
    return summary


def _prepare_folder(building: Path, recipe: Recipe) -> None:
    """Create the folder to write to, or check that an earlier run of the same recipe left it."""
    note, database = building / _RECIPE, building / "data.mdb"
    leftovers.sweep(building)
    has_data = database.exists() and database.stat().st_size > 0
    if has_data and not (note.exists() and note.read_text(encoding="utf-8") == recipe.text()):
        raise ValueError(
            f"{building}: was started with other folders or options; repeat those or delete the folder"
        )
    if has_data:
        try:
            check_database(database)
        except ValueError as error:
            raise ValueError(f"{error}: delete {building} to start again") from error
    else:
        building.mkdir(parents=True, exist_ok=True)
        with atomic_write(note) as file:
            file.write(recipe.text().encode())


def _write(
    environment: lmdb.Environment,
    pictures: Sequence[SourcePicture],
    recipe: Recipe,
    map_pictures: Callable[..., Iterator[list[tuple[bytes, bytes]]]],
) -> None:
    """Store all pictures that are missing."""

    def encode(picture: SourcePicture) -> list[tuple[bytes, bytes]]:
        return [(key.encode(), _encode_png(pixels, recipe.compress_level)) for key, pixels in picture.read()]

    # One transaction writes all sub-images of a picture, so it is enough to look for the first.
    with environment.begin() as transaction:
        missing = [p for p in pictures if transaction.get(p.first_key.encode()) is None]
    waiting: list[tuple[bytes, bytes]] = []
    size = 0
    for values in map_pictures(encode, missing, title="write", skipped=[]):
        waiting += values
        size += sum(len(value) for _, value in values)
        if size > _BYTES_PER_TRANSACTION:
            _put(environment, waiting)
            waiting, size = [], 0
    _put(environment, waiting)


def _encode_png(pixels: np.ndarray, compress_level: int) -> bytes:
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    return cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, compress_level])[1].tobytes()


def _put(environment: lmdb.Environment, values: Sequence[tuple[bytes, bytes]]) -> None:
    """Store all values in one transaction; enlarge the memory map as needed."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in values:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


class _Verified(NamedTuple):
    sizes: list[tuple[str, int, int]]  # key, height, width
    has_alpha: bool


def _verify(
    environment: lmdb.Environment,
    building: Path,
    pictures: Sequence[SourcePicture],
    recipe: Recipe,
    map_pictures: Callable[..., Iterator[_Verified]],
) -> Summary:
    """Compare the stored values with the pictures and write meta_info.txt."""

    def compare(picture: SourcePicture) -> _Verified:
        pieces = picture.read()
        with environment.begin() as transaction:
            for key, pixels in pieces:
                if not _decodes_to(transaction.get(key.encode()), pixels):
                    raise ValueError(
                        f"{building}: key {key!r} differs from {picture.path}; "
                        "delete the .partial folder and run the command again"
                    )
        return _Verified([(key, *pixels.shape[:2]) for key, pixels in pieces], picture.has_alpha())

    summary = Summary()
    with atomic_write(building / "meta_info.txt") as listing:
        for verified in map_pictures(compare, pictures, title="verify", skipped=summary.skipped):
            summary.transparent += verified.has_alpha
            for key, height, width in verified.sizes:
                summary.keys.append(key)
                listing.write(f"{key}.png ({height},{width},3) {recipe.compress_level}\n".encode())
    if not summary.keys:
        raise ValueError(f"{building}: all {len(pictures)} pictures are bad; name folders with good pictures")
    if environment.stat()["entries"] != len(summary.keys):
        raise ValueError(
            f"{building}: holds pictures that are no longer in the folders; delete it and run again"
        )
    return summary


def _decodes_to(value: bytes | None, pixels: np.ndarray) -> bool:
    try:
        return value is not None and np.array_equal(decode_rgb(value), pixels)
    except ValueError:
        return False


def _map_pictures(
    work: Callable[[SourcePicture], T],
    pictures: Sequence[SourcePicture],
    *,
    title: str,
    skipped: list[str],
    skip_bad_pictures: bool,
    threads: int,
    progress: bool,
) -> Iterator[T]:
    """Yield the result of `work` for each good picture in order; append the errors of others to `skipped`."""
    with (
        ThreadPoolExecutor(threads) as pool,
        Bar(total=len(pictures), desc=title, unit="picture", disable=not progress) as bar,
    ):
        for future in _submit_ahead(pool, work, pictures, 2 * threads):
            try:
                result = future.result()
            except BadPictureError as error:
                if not skip_bad_pictures:
                    raise
                skipped.append(str(error))
            else:
                yield result
            bar.update()


def _submit_ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[SourcePicture], T],
    pictures: Iterable[SourcePicture],
    max_pending: int,
) -> Iterator[Future[T]]:
    """Yield the futures in order, with at most `max_pending` submitted ahead of the consumer."""
    pending: deque[Future[T]] = deque()
    for picture in pictures:
        pending.append(pool.submit(work, picture))
        if len(pending) >= max_pending:
            yield pending.popleft()
    yield from pending
