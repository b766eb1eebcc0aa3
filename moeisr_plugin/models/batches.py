"""A batch of training, and its parts where it is too large for the memory."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Batch(NamedTuple):
    """LR patches, and HR pixels to be queried."""

    lr: Tensor  # (B, 3, h, w)
    coord: Tensor  # (B, Q, 2)
    cell: Tensor  # (B, 2)
    gt: Tensor  # (B, Q, 3)

    def split(self, parts: int) -> list["Batch"]:
        """As many parts of about as many samples each.

        Raises:
            ValueError: fewer samples than parts.
        """
        if not 1 <= parts <= len(self.lr):
            raise ValueError(
                f"train.accumulate is {parts} for batches of {len(self.lr)}; give 1 to the size of a batch"
            )
        return [Batch(*tensors) for tensors in zip(*(t.tensor_split(parts) for t in self), strict=True)]


def scores_of_whole_batch(part: int, scores: Tensor, all_scores: Sequence[Tensor]) -> Tensor:
    """The scores of a whole batch, of which one part is to be learnt from.

    A loss that is no sum over samples has, by what is thus given to it, the gradient of the whole batch when
    the parts' are added up.

    Args:
        part: the index of the part.
        scores: (B, J, h, w) of the part.
        all_scores: of all parts, without a gradient.
    """
    return torch.cat([*all_scores[:part], scores, *all_scores[part + 1 :]])


def unsynchronised(net: nn.Module) -> AbstractContextManager:
    """A context in which gradients are not yet averaged over processes, as more are to be added."""
    return net.no_sync() if isinstance(net, DistributedDataParallel) else nullcontext()
