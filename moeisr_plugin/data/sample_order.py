"""Order and seeds of the training samples.

Both depend only on the seed of the training, the epoch and the index in the order of the epoch. So a resumed
training continues exactly, and the samples do not depend on the number of processes or data workers.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import Dataset


class SampleRequest(NamedTuple):
    """Request for a random sample."""

    index: int  # of the picture
    epoch: int
    order_index: int  # in the order of the epoch, which is common to all processes
    training_seed: int

    @property
    def seed(self) -> tuple[int, int, int]:
        """Seed of the random choices in the sample."""
        return self.training_seed, self.epoch, self.order_index


class Position(NamedTuple):
    """Progress of the training."""

    epoch: int
    consumed: int  # samples of this epoch, in all processes together


class SampleOrder(EnlargedSampler):
    """Sample order of the toolbox that starts at the position of a resumed run, with a seed per sample.

    The samples of an epoch alternate between the processes. So the batches of all processes together equal
    the batch of a single process.

    Args:
        dataset, num_replicas, rank, ratio: as in the toolbox. A dataset with ``accepts_requests = True``
            receives a `SampleRequest`, another dataset an index.
        seed: seed of the training.
        begin: position to start at; the consumed samples of its epoch are skipped.
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
        own_consumed = -(-consumed // self.num_replicas)  # rounded up, so that all processes skip as many
        order_indices = range(self.rank, self.total_size, self.num_replicas)
        requests = (
            SampleRequest(index, self.epoch, order_index, self.seed)
            for index, order_index in zip(super().__iter__(), order_indices, strict=True)
            if order_index >= own_consumed * self.num_replicas
        )
        if getattr(self.dataset, "accepts_requests", False):
            return requests
        return (request.index for request in requests)


def position_after(epochs: Any, order_indices: Any, num_replicas: int) -> Position:
    """Return the position after a batch of this process and the corresponding batches of the others.

    Args:
        epochs: (B,) tensor, epochs of the samples.
        order_indices: (B,) tensor, order indices of the samples.
        num_replicas: number of processes.
    """
    return Position(int(epochs.max()), (int(order_indices.max()) // num_replicas + 1) * num_replicas)
