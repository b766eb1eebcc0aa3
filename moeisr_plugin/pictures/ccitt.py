"""Check data compressed by CCITT T.4 and T.6, whose decoders accept damage without an error."""

from collections.abc import Iterable
from functools import cache

MODIFIED_HUFFMAN, GROUP3, GROUP4 = 2, 3, 4
"""Compression schemes of TIFF 6.0, sections 10 and 11."""
TWO_DIMENSIONAL, UNCOMPRESSED = 1, 2
"""Bits of the T4Options and T6Options tags."""
WINDOW = 13
"""Bits of the longest code."""

# ITU-T T.4, tables 2 and 3: the codes of run lengths 0 to 63, then of 64, 128 to 1728; LONG of 1792 to 2560.
WHITE = """
00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 101010
101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010
00000011 00011010 00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000 00101001 00101010
00101011 00101100 00101101 00000100 00000101 00001010 00001011 01010010 01010011 01010100 01010101 00100100
00100101 01011000 01011001 01011010 01011011 01001010 01001011 00110010 00110011 00110100 11011 10010 010111
0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011
011010100 011010101 011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001
010011010 011000 010011011
"""
BLACK = """
0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000
0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111
00000011000 000011001010 000011001011 000011001100 000011001101 000001101000 000001101001 000001101010
000001101011 000011010010 000011010011 000011010100 000011010101 000011010110 000011010111 000001101100
000001101101 000011011010 000011011011 000001010100 000001010101 000001010110 000001010111 000001100100
000001100101 000001010010 000001010011 000000100100 000000110111 000000111000 000000100111 000000101000
000001011000 000001011001 000000101011 000000101100 000001011010 000001100110 000001100111 0000001111
000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 0000001101101
0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100
0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101
0000001011010 0000001011011 0000001100100 0000001100101
"""
LONG = """
00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110
000000010111 000000011100 000000011101 000000011110 000000011111
"""
PASS, HORIZONTAL = 100, 101
MODES = {"0001": PASS, "001": HORIZONTAL, "1": 0, "011": 1, "000011": 2, "0000011": 3}
MODES |= {"010": -1, "000010": -2, "0000010": -3}  # the others are vertical: offset to the row above

Table = list[tuple[int, int] | None]
"""For each window of bits, the length and the value of the code that it begins with."""


class DamagedFaxError(ValueError):
    """The data are no complete T.4 or T.6 picture."""


def check_fax(data: bytes, *, width: int, rows: int, compression: int, options: int = 0) -> None:
    """Raise `DamagedFaxError` unless data hold complete rows.

    Args:
        data: a strip or tile, the first bit being the highest of its byte.
        width: pixels of a row.
        rows: number of rows.
        compression: `MODIFIED_HUFFMAN`, `GROUP3` or `GROUP4`.
        options: T4Options or T6Options of the file.
    """
    if options & UNCOMPRESSED:
        raise DamagedFaxError("its uncompressed mode is not supported")
    bits = _Bits(data)
    above: list[int] = []
    for _ in range(rows):
        two_dimensional = compression == GROUP4
        if compression == MODIFIED_HUFFMAN:
            bits.align()
        elif compression == GROUP3:
            marked = bits.skip_end_of_line()
            if options & TWO_DIMENSIONAL:
                if not marked:
                    raise DamagedFaxError("a row does not begin with an end-of-line code")
                two_dimensional = not bits.bit()
        above = _row_2d(bits, above, width) if two_dimensional else _row_1d(bits, width)


def _row_1d(bits: "_Bits", width: int) -> list[int]:
    """Return the columns where the colour changes, from white on."""
    changes, column, colour = [], 0, 0
    while column < width:
        column += bits.run(colour)
        changes.append(column)
        colour ^= 1
    return _complete(changes, column, width)


def _row_2d(bits: "_Bits", above: list[int], width: int) -> list[int]:
    """Return the columns where the colour changes, from white on, given those of the row above."""
    changes: list[int] = []
    column, colour, index = -1, 0, 0
    while column < width:
        # Find the first change above that is on the right and goes to the opposite of the present colour.
        index = max(index - 2, 0)
        index += (index ^ colour) & 1
        while index < len(above) and above[index] <= column:
            index += 2
        first = above[index] if index < len(above) else width
        mode = bits.code(_modes())
        if mode == PASS:
            column = above[index + 1] if index + 1 < len(above) else width
        elif mode == HORIZONTAL:
            for shade in (colour, colour ^ 1):
                column = max(column, 0) + bits.run(shade)
                changes.append(column)
        else:
            if first + mode < max(column, 0):
                raise DamagedFaxError("a row has another length")
            column = first + mode
            changes.append(column)
            colour ^= 1
    return _complete(changes, column, width)


def _complete(changes: list[int], column: int, width: int) -> list[int]:
    if column != width:
        raise DamagedFaxError("a row has another length")
    return changes


class _Bits:
    """A cursor on the bits of data."""

    def __init__(self, data: bytes) -> None:
        self._data = data + bytes(3)
        self._end = 8 * len(data)
        self._at = 0

    def code(self, table: Table) -> int:
        """Return the value of the next code."""
        entry = table[self._window()]
        if entry is None:
            raise DamagedFaxError("a code is invalid")
        self._advance(entry[0])
        return entry[1]

    def run(self, colour: int) -> int:
        """Return the length of the next run: any number of make-up codes, then one of less than 64."""
        table, length = _runs(colour), 0
        while True:
            part = self.code(table)
            length += part
            if part < 64:
                return length

    def bit(self) -> int:
        found = self._window() >> (WINDOW - 1)
        self._advance(1)
        return found

    def align(self) -> None:
        self._at += -self._at % 8

    def skip_end_of_line(self) -> bool:
        """Skip fill bits and an end-of-line code, 000000000001; return whether there is one."""
        at = self._at
        while at < self._end and not (self._data[at >> 3] >> (7 - (at & 7))) & 1:
            at += 1
        if at - self._at < 11 or at >= self._end:
            return False
        self._at = at + 1
        return True

    def _window(self) -> int:
        byte, offset = divmod(self._at, 8)
        three = int.from_bytes(self._data[byte : byte + 3], "big")
        return (three >> (24 - WINDOW - offset)) & (2**WINDOW - 1)

    def _advance(self, count: int) -> None:
        self._at += count
        if self._at > self._end:
            raise DamagedFaxError("the data end too early")


def _table(codes: Iterable[tuple[str, int]]) -> Table:
    table: Table = [None] * 2**WINDOW
    for code, value in codes:
        free = WINDOW - len(code)
        first = int(code, 2) << free
        table[first : first + 2**free] = [(len(code), value)] * 2**free
    return table


@cache
def _runs(colour: int) -> Table:
    short = zip((WHITE, BLACK)[colour].split(), [*range(64), *range(64, 1729, 64)], strict=True)
    return _table([*short, *zip(LONG.split(), range(1792, 2561, 64), strict=True)])


@cache
def _modes() -> Table:
    return _table(MODES.items())
