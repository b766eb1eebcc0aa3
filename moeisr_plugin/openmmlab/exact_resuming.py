"""Continue a training of `Runner` exactly where its checkpoint was saved.

The samples and the random numbers of an iteration depend only on the seed of the training and the number of
the iteration. So a checkpoint needs no random state, and validations change nothing.
"""

from collections.abc import Iterator, Sized
from itertools import chain, count, repeat
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, LOOPS
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import Sampler

from moeisr_plugin.data.sample_order import SampleRequest


@DATA_SAMPLERS.register_module()
class ExactSampler(Sampler):
    """Endless sampler: epoch after epoch, each in a random order. The processes take turns.

    It yields a `SampleRequest` for a data set with ``accepts_requests = True``, otherwise an index.

    Args:
        dataset: the data set.
        seed: seed of the orders and of the samples. The train loop replaces it by the seed of the Runner.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        self.dataset = dataset
        self.seed = seed or 0
        self.consumed = 0
        """Samples that all processes together skip at the beginning."""

    def __iter__(self) -> Iterator[Any]:
        rank, processes = get_dist_info()
        size, current, order = len(self.dataset), -1, []
        for position in count(self.consumed + rank, processes):
            epoch, index = divmod(position, size)
            if epoch != current:
                current, order = epoch, np.random.default_rng([self.seed, epoch]).permutation(size).tolist()
            if getattr(self.dataset, "accepts_requests", False):
                yield SampleRequest(order[index], epoch, index, self.seed)
            else:
                yield order[index]

    def __len__(self) -> int:
        return len(self.dataset)


@LOOPS.register_module()
class ExactTrainLoop(IterBasedTrainLoop):
    """Loop whose resumed trainings equal uninterrupted ones. Its loader needs an :class:`ExactSampler`.

    The arguments are those of `IterBasedTrainLoop`.

    Raises:
        ValueError: the loader has another sampler.
    """

    def run(self) -> Any:
        """Train. After a resumption, start at its sample instead of loading all samples before it."""
        sampler, seed = self.dataloader.sampler, self.runner.seed
        if not isinstance(sampler, ExactSampler):
            raise ValueError(
                f"train_dataloader.sampler is a {type(sampler).__name__}; ExactTrainLoop needs ExactSampler"
            )
        if self._iter or sampler.seed != seed:  # a checkpoint may have brought another seed
            _, processes = get_dist_info()
            batches: Any = self.dataloader.batch_sampler
            sampler.seed, sampler.consumed = seed, self._iter * batches.batch_size * processes
            rest = type(self.dataloader_iterator)(self.dataloader)
            self.dataloader_iterator = chain(repeat(None, self._iter), rest)  # the base class skips these
        return super().run()

    def run_iter(self, data_batch: Any) -> None:
        """Run an iteration with random numbers of its own."""
        rank, _ = get_dist_info()
        sequence = np.random.SeedSequence([self.runner.seed, self._iter, rank])
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        super().run_iter(data_batch)
