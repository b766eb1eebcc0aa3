"""Pass errors on from the thread that prefetches batches."""

import functools
from collections.abc import Callable
from typing import Any


def mend_prefetch_dataloader(prefetch_dataloader: Any) -> None:
    """Raise in the main thread what a prefetching thread raises; otherwise training waits forever.

    Mends `PrefetchGenerator` in basicsr/data/prefetch_dataloader.py:27 and 32. Can go when it passes on what
    its loader raises.
    """
    generator = prefetch_dataloader.PrefetchGenerator
    generator.run, generator.__next__ = queueing_errors(generator.run), raising_errors(generator.__next__)


def queueing_errors(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap the `run` of a prefetching thread so that it queues the exception that ends it."""

    @functools.wraps(run)
    def queueing(thread: Any) -> None:
        try:
            run(thread)
        except Exception as error:
            thread.queue.put(error)

    return queueing


def raising_errors(next_batch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap the `__next__` of a prefetching thread so that it raises a queued exception."""

    @functools.wraps(next_batch)
    def raising(thread: Any) -> Any:
        batch = next_batch(thread)
        if isinstance(batch, Exception):
            raise batch
        return batch

    return raising
