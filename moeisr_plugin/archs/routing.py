"""Routing from scores to experts: soft mixture in training, hard dispatch in inference.

Scores have the shape (B, J, h, w) for J experts. A query is given by ``index``, its LR pixel as a row of a
table flattened from (B, h, w), and by ``rel``, its coordinate relative to this pixel.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.archs.embeddings import PixelTerms
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.archs.recording import refuse_recording
from moeisr_plugin.ops.precision import at_least_float32
from moeisr_plugin.ops.rows import gather_rows


def gumbel_gates(scores: Tensor, *, tau: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Draw gates by the Gumbel-softmax of the scores (paper, Eq. 5).

    Args:
        scores: (B, J, h, w).
        tau: temperature. Larger values make the gates more even.
        generator: source of the noise. Defaults to the default generator of the device.

    Returns:
        Gates (B, J, h, w) in float32 or better, which sum to 1 over J.
    """
    scores = at_least_float32(scores)
    # Independent of the memory format of the scores, so that a seed gives the same noise.
    noise = torch.empty_like(scores, memory_format=torch.contiguous_format)
    noise = -noise.exponential_(generator=generator).log()
    return F.softmax((scores + noise) / tau, dim=1)


def random_choice(maps: Tensor, among: Sequence[int], *, generator: torch.Generator | None = None) -> Tensor:
    """Assign each pixel to a random expert of some, so that all of them learn from all pixels.

    Equal gates would train only the mean of the experts, not each expert on its own.

    Args:
        maps: (B, C, h, w), any values.
        among: indices of the experts, in [0, J).
        generator: source of the randomness. Defaults to the default generator of the device.

    Returns:
        (B, h, w) in [0, J).
    """
    # torch.randint does not compile for shapes that vary. This draws the same numbers in the same order.
    place = torch.empty_like(maps[:, 0], dtype=torch.int64, memory_format=torch.contiguous_format)
    place.random_(len(among), generator=generator)  # (B, h, w)
    if list(among) == list(range(len(among))):
        return place  # without a copy to the device, for which a GPU waits
    return torch.tensor(among, device=maps.device)[place]


def random_gates(
    scores: Tensor, *, among: Sequence[int] | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Return :func:`random_choice` as one-hot gates (B, J, h, w). The values of the scores do not matter."""
    choice = random_choice(scores, among or range(scores.shape[1]), generator=generator)
    return F.one_hot(choice, scores.shape[1]).movedim(-1, 1).to(scores)  # (B, h, w, J) -> (B, J, h, w)


def choose_expert(scores: Tensor) -> Tensor:
    """Choose the expert with the largest score at each LR pixel (paper, Eq. 4). Return (B, h, w)."""
    return scores.max(dim=1).indices  # the same as argmax, in an eighth of the time on a CPU


def use_everywhere(scores: Tensor, expert: int) -> Tensor:
    """Return scores (B, J, h, w) that choose the same expert, in [0, J), for each pixel."""
    everywhere = torch.zeros_like(scores)
    everywhere[:, expert] = 1
    return everywhere


def shuffle_scores(scores: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Permute the pixels of scores (B, J, h, w) at random.

    Each image keeps the number of pixels per expert. All images get the same permutation.
    """
    order = torch.randperm(scores[0, 0].numel(), generator=generator).to(scores.device)
    return scores.flatten(2)[:, :, order].view_as(scores)  # (B, J, h, w)


def mix_experts(
    experts: Sequence[Expert], terms: PixelTerms, gates: Tensor, index: Tensor, rel: Tensor
) -> Tensor:
    """Average the outputs of all experts, weighted by the gates of the LR pixel (paper, Eq. 5).

    Args:
        experts: J experts.
        terms: precomputed terms of each LR pixel.
        gates: (B, J, h, w).
        index: (N,), LR pixel of each query.
        rel: (N, 2), coordinate relative to the LR pixel.

    Returns:
        RGB, nominally in [-1, 1], (N, 3).
    """
    weight = gather_rows(gates.permute(0, 2, 3, 1).flatten(0, 2), index)  # (N, J)
    hidden = terms.first_layers(index, rel)
    outputs = [expert.finish(h) for expert, h in zip(experts, hidden, strict=True)]
    return torch.stack(outputs, dim=-1).mul(weight[:, None]).sum(-1)  # (N, 3, J) -> (N, 3)


def dispatch_experts(
    experts: Sequence[Expert], terms: PixelTerms, groups: Sequence[Tensor], index: Tensor, rel: Tensor
) -> Tensor:
    """Evaluate for each query the expert it is routed to (paper, Eq. 4).

    Args:
        experts: J experts.
        terms: precomputed terms of each LR pixel.
        groups: J tensors (N_j,), the queries in [0, N) that are routed to each expert.
        index: (N,), LR pixel of each query.
        rel: (N, 2), coordinate relative to the LR pixel.

    Returns:
        RGB, nominally in [-1, 1], (N, 3).
    """
    outputs = [
        expert.finish(terms.first_layer(j, index[group], rel[group]))
        for j, (expert, group) in enumerate(zip(experts, groups, strict=True))
    ]
    outputs = torch.cat(outputs)  # (N, 3), grouped by expert
    return torch.empty_like(outputs).index_copy(0, torch.cat(list(groups)), outputs)


def group_by_expert(choice: Tensor, num_experts: int) -> tuple[Tensor, ...]:
    """Group items by their expert.

    On a GPU, the host waits once, for the sizes of the groups.

    Args:
        choice: (N,) in [0, J), expert of each item.
        num_experts: number J of experts.

    Returns:
        J tensors (N_j,), the indices of the items of each expert in increasing order.

    Raises:
        RuntimeError: operations are being recorded, by `torch.jit.trace` for example. The record would keep
            the sizes of the groups, and so the routing of its example for every picture.
    """
    if num_experts == 1:
        return (torch.arange(len(choice), device=choice.device),)
    refuse_recording()
    in_order, positions = choice.sort(stable=True)
    first_of_next = torch.searchsorted(in_order, torch.arange(1, num_experts, device=choice.device))
    bounds = [0, *first_of_next.tolist(), len(positions)]
    return positions.split([end - start for start, end in pairwise(bounds)])


def ungroup(groups: Sequence[Tensor]) -> Tensor:
    """Return the choice that was grouped, J of (N_j,) to (N,) in [0, J)."""
    choice = torch.empty_like(torch.cat(list(groups)))
    for expert, group in enumerate(groups):
        choice[group] = expert
    return choice
