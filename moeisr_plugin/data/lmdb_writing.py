"""Making an LMDB in the toolbox's layout from folders of pictures.

Every picture becomes a PNG of the RGB pixels that training from its folder sees, so that what the toolbox
decodes does not hang on the file's format, palette, orientation or profile. The LMDB grows under another
name, where an interrupted run goes on, and takes its own once all of it has been read back.
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
from tqdm import tqdm

from moeisr_plugin.data.decode import decode_rgb
from moeisr_plugin.data.lmdb_pages import check_database
from moeisr_plugin.data.lmdb_recipe import BadPictureError, Recipe, SourcePicture
from moeisr_plugin.utils.atomic import atomic_write

_FIRST_MAP_SIZE = 2**26
_BYTES_PER_TRANSACTION = 2**25  # the most an interruption costs
_RECIPE = "recipe.json"  # beside data.mdb until the LMDB is complete

T = TypeVar("T")


@dataclass
class Summary:
    """What an LMDB holds, and what of its folders it does not.

    Attributes:
        keys: all keys.
        skipped: a line on each bad picture.
        transparent: how many pictures lost their alpha.
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
    """Makes an LMDB, or goes on where an interrupted run of the same recipe stopped.

    Args:
        target: the folder that appears once all is done; its name ends in .lmdb.
        recipe: what goes into it.
        skip_bad_pictures: leave them out instead of stopping at the first.
        threads: how many pictures are decoded at a time.
        progress: show bars on stderr.

    Raises:
        BadPictureError: a picture is bad.
        ValueError: the target, the recipe or what an earlier run has left will not do, or what is read back
            is not what was to be written; one line.
        OSError: the disk is full, or something cannot be read or written.
    """
    target = Path(target)
    if target.suffix != ".lmdb":
        raise ValueError(f"{target}: an LMDB's name must end in .lmdb; choose another")
    if target.exists():
        raise ValueError(f"{target}: exists already; remove it or choose another name")
    pictures = recipe.pictures()
    building = target.with_name(target.name + ".partial")
    _begin_or_go_on(building, recipe)
    each = partial(_each, skip_bad_pictures=skip_bad_pictures, threads=threads, progress=progress)
    try:
        with lmdb.open(str(building), map_size=_FIRST_MAP_SIZE) as environment:
            _write(environment, pictures, recipe, each)
            summary = _verify(environment, building, pictures, recipe, each)
    except lmdb.Error as error:
        raise OSError(f"{building}: cannot be written ({error}); run this again to go on") from error
    os.replace(building, target)
    (target / _RECIPE).unlink()
    return summary


def _begin_or_go_on(building: Path, recipe: Recipe) -> None:
    """Leaves a folder that the recipe's LMDB can grow in, with what an earlier run has put there."""
    note, database = building / _RECIPE, building / "data.mdb"
    for part in building.glob(".*.part"):  # of a file that a killed run was writing
        part.unlink()
    has_data = database.exists() and database.stat().st_size > 0
    if has_data and not (note.exists() and note.read_text(encoding="utf-8") == recipe.text()):
        raise ValueError(f"{building}: was begun with other folders or options; repeat those or delete it")
    if has_data:
        try:
            check_database(database)
        except ValueError as error:
            raise ValueError(f"{error}: delete {building} to begin anew") from error
    else:
        building.mkdir(parents=True, exist_ok=True)
        with atomic_write(note) as file:
            file.write(recipe.text().encode())


def _write(
    environment: lmdb.Environment,
    pictures: Sequence[SourcePicture],
    recipe: Recipe,
    each: Callable[..., Iterator[list[tuple[bytes, bytes]]]],
) -> None:
    """Stores all pictures that are not there yet."""

    def encode(picture: SourcePicture) -> list[tuple[bytes, bytes]]:
        return [(key.encode(), _png(pixels, recipe.compress_level)) for key, pixels in picture.read()]

    # A picture's sub-images are written in one transaction, so the first stands for all.
    with environment.begin() as transaction:
        missing = [p for p in pictures if transaction.get(p.first_key.encode()) is None]
    waiting: list[tuple[bytes, bytes]] = []
    size = 0
    for values in each(encode, missing, title="write", skipped=[]):
        waiting += values
        size += sum(len(value) for _, value in values)
        if size > _BYTES_PER_TRANSACTION:
            _put(environment, waiting)
            waiting, size = [], 0
    _put(environment, waiting)


def _png(pixels: np.ndarray, compress_level: int) -> bytes:
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    return cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, compress_level])[1].tobytes()


def _put(environment: lmdb.Environment, values: Sequence[tuple[bytes, bytes]]) -> None:
    """Stores all of the values or, on an error, none of them."""
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
    each: Callable[..., Iterator[_Verified]],
) -> Summary:
    """Compares what is stored to the pictures, and lists it in meta_info.txt."""

    def compare(picture: SourcePicture) -> _Verified:
        pieces = picture.read()
        with environment.begin() as transaction:
            for key, pixels in pieces:
                if not _holds(transaction.get(key.encode()), pixels):
                    raise ValueError(
                        f"{building}: key {key!r} is not what {picture.path} holds now; "
                        "delete the former and run this again"
                    )
        return _Verified([(key, *pixels.shape[:2]) for key, pixels in pieces], picture.has_alpha())

    summary = Summary()
    with atomic_write(building / "meta_info.txt") as listing:
        for verified in each(compare, pictures, title="verify", skipped=summary.skipped):
            summary.transparent += verified.has_alpha
            for key, height, width in verified.sizes:
                summary.keys.append(key)
                listing.write(f"{key}.png ({height},{width},3) {recipe.compress_level}\n".encode())
    if not summary.keys:
        raise ValueError(f"{building}: all {len(pictures)} pictures are bad; name folders with sound ones")
    if environment.stat()["entries"] != len(summary.keys):
        raise ValueError(f"{building}: holds pictures no longer in the folders; delete it and run this again")
    return summary


def _holds(value: bytes | None, pixels: np.ndarray) -> bool:
    try:
        return value is not None and np.array_equal(decode_rgb(value), pixels)
    except ValueError:
        return False


def _each(
    work: Callable[[SourcePicture], T],
    pictures: Sequence[SourcePicture],
    *,
    title: str,
    skipped: list[str],
    skip_bad_pictures: bool,
    threads: int,
    progress: bool,
) -> Iterator[T]:
    """What the work gives for each sound picture, in order; a line on each bad one goes to `skipped`."""
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(pictures), desc=title, unit="picture", disable=not progress) as bar,
    ):
        for future in _ahead(pool, work, pictures, 2 * threads):
            try:
                result = future.result()
            except BadPictureError as error:
                if not skip_bad_pictures:
                    raise
                skipped.append(str(error))
            else:
                yield result
            bar.update()


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[SourcePicture], T], pictures: Iterable[SourcePicture], most: int
) -> Iterator[Future[T]]:
    """The futures in order, of which so many at most are begun before they are asked for."""
    begun: deque[Future[T]] = deque()
    for picture in pictures:
        begun.append(pool.submit(work, picture))
        if len(begun) >= most:
            yield begun.popleft()
    yield from begun
