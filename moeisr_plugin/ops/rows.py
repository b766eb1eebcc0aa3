"""Gather rows, with a gradient that is deterministic on a CPU."""

from torch import Tensor


def gather_rows(table: Tensor, index: Tensor) -> Tensor:
    """Return ``table[index]``.

    On a CPU, the backward pass of ``table[index]`` adds rows in an order that depends on the threads, and two
    threads can take three times as long as one. The backward pass of `index_select` has a fixed order there.
    On a GPU it is the other way round: ``table[index]`` sorts the indices first, `index_select` does not.

    Args:
        table: (M, ...).
        index: (N,) in [0, M).

    Returns:
        (N, ...).
    """
    return table.index_select(0, index) if table.device.type == "cpu" else table[index]
