"""How many samples a training takes per second, and how long it waits for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Throughput:
    """A stopwatch that is told what a training begins and ends.

    Time spent on validation and on saving counts neither as work nor as waiting. On a GPU a step has to be
    waited for before it is told of, as reading its losses does.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._reset()

    def batch_arrived(self) -> None:
        """Waiting ends, a step begins."""
        self._waited += self._lap()

    def step_done(self, samples: int) -> None:
        """A step on so many samples ends, waiting for the next ones begins."""
        self._worked += self._lap()
        self._samples += samples

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Does not count what is done within."""
        self._waited += self._lap()
        yield
        self._lap()

    def take(self) -> dict[str, float]:
        """``samples_per_s`` and ``data_wait``, the share of time waiting for data, since the last time."""
        seconds = self._worked + self._waited
        samples, waited = self._samples, self._waited
        self._reset()
        return {"samples_per_s": samples / seconds, "data_wait": waited / seconds} if seconds else {}

    def _lap(self) -> float:
        """Seconds since this was last asked; none the first time."""
        before, self._since = self._since, perf_counter()
        return 0.0 if before is None else self._since - before

    def _reset(self) -> None:
        self._samples, self._worked, self._waited = 0, 0.0, 0.0
