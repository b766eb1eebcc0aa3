"""Validation of a data.mdb before LMDB maps it.

LMDB does not check the numbers in the file; a wrong offset crashes the process. The layout is that of LMDB
0.9: two meta pages, of which the newer one is valid, and a tree of branch and leaf pages. Large values, like
pictures, are on overflow pages.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE_HEADER = struct.Struct("=Q2xHHH")  # number, kind, end of the node offsets, start of the nodes
_BRANCH, _LEAF, _META, _KINDS = 0x01, 0x02, 0x08, 0x6F
_TREE = "IHHQQQQQ"  # page size, flags, depth, three counts of pages, entries, root
# Magic, version, tree of free pages, tree of values, last page, transaction number.
_META_CONTENT = struct.Struct(f"=II16x{_TREE}{_TREE}QQ")
_META_SIZE = _PAGE_HEADER.size + _META_CONTENT.size
# Low and middle 16 bits of the value size (leaf) or child page (branch); flags (leaf) or high bits; key size.
_NODE_HEADER = struct.Struct("=HHHH")
_PAGE_NUMBER = struct.Struct("=Q")
_ON_OVERFLOW_PAGES = 0x01
_NO_ROOT = 2**64 - 1
_MAX_DEPTH = 32  # limit of LMDB


class _Meta(NamedTuple):
    page_size: int
    flags: int
    depth: int
    root: int
    last_page: int
    transaction: int


class _DamagedError(Exception):
    """A page has an impossible content."""


def check_size(path: Path) -> None:
    """Check the length of a data.mdb against its two meta pages.

    Raises:
        ValueError: the file is truncated or not a data.mdb; one line with the path.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        _newer_meta(path, file)


def check_database(path: Path) -> None:
    """Check the length of a data.mdb, and that all page references of its tree are inside the file.

    Overflow pages are not read.

    Raises:
        ValueError: the file is truncated, damaged or not a data.mdb; one line with the path.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        meta = _newer_meta(path, file)
        try:
            _check_tree(file, meta)
        except (_DamagedError, struct.error):  # struct.error: an offset outside its page
            raise _error(path, "is damaged") from None


def _newer_meta(path: Path, file: BinaryIO) -> _Meta:
    first = _meta(path, file.read(_META_SIZE))
    file.seek(first.page_size)
    second = _meta(path, file.read(_META_SIZE))
    if second.page_size != first.page_size:
        raise _error(path, "is damaged")
    meta = max(first, second, key=lambda meta: meta.transaction)
    # A valid file is shorter than its page count only if a transaction deleted a value that it had written
    # itself. No writer of picture LMDBs does so.
    size, expected = os.fstat(file.fileno()).st_size, (meta.last_page + 1) * meta.page_size
    if size < expected:
        raise _error(path, f"is cut off, {size} of {expected} bytes")
    return meta


def _meta(path: Path, start_of_page: bytes) -> _Meta:
    if len(start_of_page) < _META_SIZE:
        raise _error(path, "is cut off within its first pages")
    _, kind, _, _ = _PAGE_HEADER.unpack_from(start_of_page)
    fields = _META_CONTENT.unpack_from(start_of_page, _PAGE_HEADER.size)
    magic, version, page_size, *_, flags, depth, _, _, _, _, root, last_page, transaction = fields
    if not kind & _META or magic != _MAGIC or version != _VERSION:
        raise _error(path, "is not the data.mdb of an LMDB")
    if page_size not in (2**n for n in range(8, 17)):
        raise _error(path, "is damaged")
    return _Meta(page_size, flags, depth, root, last_page, transaction)


def _error(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path}: {reason}; copy or make the LMDB again")


def _check_tree(file: BinaryIO, meta: _Meta) -> None:
    if meta.flags or meta.depth > _MAX_DEPTH:
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
    """Yield for each node the end of its key and the first three fields of its header."""
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
    if flags == _ON_OVERFLOW_PAGES:
        (first,) = _PAGE_NUMBER.unpack_from(page, key_end)
        pages = -(-(_PAGE_HEADER.size + size) // meta.page_size)
        inside = 2 <= first <= meta.last_page + 1 - pages
    else:
        inside = not flags and key_end + size <= meta.page_size
    if not inside:
        raise _DamagedError
