"""Which sample comes when, and what randomness it gets.

Both are functions of the seed and of the place in training. Nothing of them is lost with a process, and they
are the same for any number of processes and of data workers.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import Dataset


class SampleRequest(NamedTuple):
    """A sample to be drawn."""

    index: int  # of the picture
    epoch: int
    order_index: int  # in the epoch's order, which all processes share
    training_seed: int

    @property
    def seed(self) -> tuple[int, int, int]:
        """What the sample's randomness starts from."""
        return self.training_seed, self.epoch, self.order_index


class Position(NamedTuple):
    """How far training has come."""

    epoch: int
    consumed: int  # samples of this epoch's order, by all processes together


class SampleOrder(EnlargedSampler):
    """The toolbox's order of samples, begun where a resumed run left it, each with its own randomness.

    Places in an epoch's order are dealt to the processes in turn, so that a batch of each makes up the batch
    that one process alone would take.

    Args:
        dataset, num_replicas, rank, ratio: the toolbox's. A dataset whose ``accepts_requests`` is true is asked
            for a `SampleRequest`, any other for an index.
        seed: of the whole training.
        begin: samples consumed already are left out of that epoch.
    """

    def __init__(
        self,
        dataset: Dataset,
        num_replicas: int,
        rank: int,
        ratio: int = 1,
        *,
        seed: int,
        begin: Position = Position(0, 0),  # noqa: B008  a NamedTuple is immutable
    ) -> None:
        super().__init__(dataset, num_replicas, rank, ratio)
        self.seed = seed
        self.begin = begin

    def __iter__(self) -> Iterator[Any]:
        consumed = self.begin.consumed if self.epoch == self.begin.epoch else 0
        own_consumed = -(-consumed // self.num_replicas)  # rounded up, so that all processes go on alike
        places = range(self.rank, self.total_size, self.num_replicas)
        draws = (
            SampleRequest(index, self.epoch, place, self.seed)
            for index, place in zip(super().__iter__(), places, strict=True)
            if place >= own_consumed * self.num_replicas
        )
        return draws if getattr(self.dataset, "accepts_requests", False) else (draw.index for draw in draws)


def position_after(epochs: Any, places: Any, num_replicas: int) -> Position:
    """The position after a batch of a process: its last sample's, and the other processes' beside it.

    Args:
        epochs: (B,) tensor, of the batch.
        places: (B,) tensor, of the batch.
        num_replicas: processes.
    """
    return Position(int(epochs.max()), (int(places.max()) // num_replicas + 1) * num_replicas)
