"""Rows of a table, as queries ask for them."""

from torch import Tensor


def gather_rows(table: Tensor, index: Tensor) -> Tensor:
    """The rows of a table, (M, ...), at index, (N,), as ``table[index]``, with the same gradient each time.

    On a CPU that of ``table[index]`` is not the same: threads add to a row in whatever order they come, and
    two of them take up to three times as long. On a GPU it is sorted first, and that of index_select is not.
    """
    return table.index_select(0, index) if table.device.type == "cpu" else table[index]
