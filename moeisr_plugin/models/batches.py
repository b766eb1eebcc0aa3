"""Training batches, and splitting them for gradient accumulation."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Batch(NamedTuple):
    """LR patches and queried HR pixels."""

    lr: Tensor  # (B, 3, h, w)
    coord: Tensor  # (B, Q, 2)
    cell: Tensor  # (B, 2)
    gt: Tensor  # (B, Q, 3), or pictures (B, 3, H, W) of Q = H*W queries

    def split(self, parts: int) -> list["Batch"]:
        """Split into parts of nearly equal numbers of samples.

        Raises:
            ValueError: `parts` is below 1 or above the number of samples.
        """
        if not 1 <= parts <= len(self.lr):
            raise ValueError(
                f"train.accumulate is {parts} for batches of {len(self.lr)}; give 1 to the batch size"
            )
        return [Batch(*tensors) for tensors in zip(*(t.tensor_split(parts) for t in self), strict=True)]


def scores_of_whole_batch(part: int, scores: Tensor, all_scores: Sequence[Tensor]) -> Tensor:
    """Concatenate the scores of all parts, of which only one part has gradients.

    A loss that is not a sum over samples needs the scores of the whole batch. The sum of its gradients over
    the parts is then the gradient of the batch.

    Args:
        part: index of the part with gradients.
        scores: (B, J, h, w), scores of this part.
        all_scores: scores of all parts, without gradients.

    Returns:
        (total B, J, h, w).
    """
    return torch.cat([*all_scores[:part], scores, *all_scores[part + 1 :]])


def unsynchronised(net: nn.Module) -> AbstractContextManager:
    """Return a context in which backward passes do not average gradients over the processes."""
    return net.no_sync() if isinstance(net, DistributedDataParallel) else nullcontext()
