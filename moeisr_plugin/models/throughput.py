"""Samples per second of a training, and its waiting time for data."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Throughput:
    """Stopwatch of a training.

    Validation and saving count neither as work nor as waiting. On a GPU, synchronise before `step_done`, for
    instance by reading the losses.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._reset()

    def batch_arrived(self) -> None:
        """End the waiting time and start a step."""
        self._waited += self._lap()

    def step_done(self, samples: int) -> None:
        """End a step on `samples` samples and start the waiting time."""
        self._worked += self._lap()
        self._samples += samples

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time in the context."""
        self._waited += self._lap()
        yield
        self._lap()

    def take(self) -> dict[str, float]:
        """Return ``samples_per_s`` and ``data_wait``, the fraction of waiting time, since the last call."""
        seconds = self._worked + self._waited
        samples, waited = self._samples, self._waited
        self._reset()
        return {"samples_per_s": samples / seconds, "data_wait": waited / seconds} if seconds else {}

    def _lap(self) -> float:
        """Return the seconds since the last call; 0 at the first call."""
        before, self._since = self._since, perf_counter()
        return 0.0 if before is None else self._since - before

    def _reset(self) -> None:
        self._samples, self._worked, self._waited = 0, 0.0, 0.0
