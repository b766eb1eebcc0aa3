"""Checking a data.mdb before LMDB maps it, which believes every number in it: a wrong one ends the process.

The layout is that of LMDB 0.9: two meta pages, of which the newer counts, and a tree of branch and leaf
pages. Values too large for a leaf, as pictures are, lie on pages of their own.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE_HEADER = struct.Struct("=Q2xHHH")  # number, kind, end of the offsets, start of the nodes
_BRANCH, _LEAF, _META, _KINDS = 0x01, 0x02, 0x08, 0x6F
_TREE = "IHHQQQQQ"  # page size, flags, depth, three counts of pages, entries, root
_META_CONTENT = struct.Struct(f"=II16x{_TREE}{_TREE}QQ")  # magic, version, free pages, values, last page, age
_META_SIZE = _PAGE_HEADER.size + _META_CONTENT.size
_NODE_HEADER = struct.Struct("=HHHH")  # size of a leaf's value or number of a branch's child; flags; key size
_PAGE_NUMBER = struct.Struct("=Q")
_ON_OTHER_PAGES = 0x01
_NO_ROOT = 2**64 - 1
_DEEPEST = 32  # LMDB's own limit


class _Meta(NamedTuple):
    page_size: int
    flags: int
    depth: int
    root: int
    last_page: int
    age: int


class _DamagedError(Exception):
    """A page says what cannot be."""


def check_size(path: Path) -> None:
    """Checks that a data.mdb is as long as it says; reads its two meta pages alone.

    Raises:
        ValueError: no data.mdb, or cut off; one line naming the file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        _newer_meta(path, file)


def check_database(path: Path) -> None:
    """Checks that a data.mdb is as long as it says, and that its tree leads nowhere outside it.

    The pages of large values are not read.

    Raises:
        ValueError: no data.mdb, cut off or damaged; one line naming the file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        meta = _newer_meta(path, file)
        try:
            _check_tree(file, meta)
        except (_DamagedError, struct.error):  # the latter: a number that leads out of its page
            raise _refusal(path, "is damaged") from None


def _newer_meta(path: Path, file: BinaryIO) -> _Meta:
    first = _meta(path, file.read(_META_SIZE))
    file.seek(first.page_size)
    second = _meta(path, file.read(_META_SIZE))
    if second.page_size != first.page_size:
        raise _refusal(path, "is damaged")
    meta = max(first, second, key=lambda meta: meta.age)
    # Only deleting a value in the very transaction that wrote it, which no picture LMDB sees, leaves a sound
    # file shorter than its count of pages.
    size, expected = os.fstat(file.fileno()).st_size, (meta.last_page + 1) * meta.page_size
    if size < expected:
        raise _refusal(path, f"is cut off, {size} of {expected} bytes")
    return meta


def _meta(path: Path, start_of_page: bytes) -> _Meta:
    if len(start_of_page) < _META_SIZE:
        raise _refusal(path, "is cut off within its first pages")
    _, kind, _, _ = _PAGE_HEADER.unpack_from(start_of_page)
    magic, version, page_size, *_, flags, depth, _, _, _, _, root, last_page, age = _META_CONTENT.unpack_from(
        start_of_page, _PAGE_HEADER.size
    )
    if not kind & _META or magic != _MAGIC or version != _VERSION:
        raise _refusal(path, "is no LMDB's data.mdb")
    if page_size not in (2**n for n in range(8, 17)):
        raise _refusal(path, "is damaged")
    return _Meta(page_size, flags, depth, root, last_page, age)


def _refusal(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path}: {reason}; copy or make the LMDB again")


def _check_tree(file: BinaryIO, meta: _Meta) -> None:
    if meta.flags or meta.depth > _DEEPEST:
        raise _DamagedError
    pages = [] if meta.root == _NO_ROOT else [(meta.root, 1)]  # numbers and levels
    seen = set()
    while pages:
        number, level = pages.pop()
        if number in seen or not 2 <= number <= meta.last_page or level > meta.depth:
            raise _DamagedError
        seen.add(number)
        file.seek(number * meta.page_size)
        page = file.read(meta.page_size)
        is_leaf = level == meta.depth
        nodes = list(_nodes(page, number, _LEAF if is_leaf else _BRANCH, meta))
        if is_leaf:
            for node in nodes:
                _check_value(page, node, meta)
        else:
            pages += [(low | middle << 16 | high << 32, level + 1) for _, low, middle, high in nodes]


def _nodes(page: bytes, number: int, kind: int, meta: _Meta) -> Iterator[tuple[int, int, int, int]]:
    """Where each node's key ends, and the first three fields of its header."""
    own_number, own_kind, offsets_end, nodes_start = _PAGE_HEADER.unpack_from(page)
    fewest = 1 if kind == _LEAF else 2
    count = (offsets_end - _PAGE_HEADER.size) // 2
    if own_number != number or own_kind & _KINDS != kind or count < fewest or offsets_end > nodes_start:
        raise _DamagedError
    for offset in struct.unpack_from(f"={count}H", page, _PAGE_HEADER.size):
        low, middle, high, key_size = _NODE_HEADER.unpack_from(page, offset)
        key_end = offset + _NODE_HEADER.size + key_size
        if offset < nodes_start or key_end > meta.page_size:
            raise _DamagedError
        yield key_end, low, middle, high


def _check_value(page: bytes, node: tuple[int, int, int, int], meta: _Meta) -> None:
    key_end, low, middle, flags = node
    size = low | middle << 16
    if flags == _ON_OTHER_PAGES:
        (first,) = _PAGE_NUMBER.unpack_from(page, key_end)
        pages = -(-(_PAGE_HEADER.size + size) // meta.page_size)
        inside = 2 <= first <= meta.last_page + 1 - pages
    else:
        inside = not flags and key_end + size <= meta.page_size
    if not inside:
        raise _DamagedError
