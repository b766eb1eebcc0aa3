"""From the mapper's scores to the experts' answers: a soft mixture in training, hard dispatch after.

Scores are (B, J, h, w). The experts answer for N queries, each told by the row of its latent in a table
flattened from (B, h, w) and by its coordinate relative to it.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from moeisr_plugin.archs.embeddings import Ground
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.archs.precision import at_least_float32
from moeisr_plugin.archs.rows import rows_at


def gumbel_gates(scores: Tensor, *, tau: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Weights of the experts in training: Gumbel-softmax of the scores (paper, Eq. 5), summing to 1 over J.

    Args:
        scores: (B, J, h, w).
        tau: temperature; large values even the weights out.
        generator: source of the noise; torch's default generator of the device if not given.

    Returns:
        (B, J, h, w), in float32 or better.
    """
    scores = at_least_float32(scores)
    # The same noise for the same seed, in whatever order the scores lie in memory.
    noise = torch.empty_like(scores, memory_format=torch.contiguous_format)
    noise = -noise.exponential_(generator=generator).log()
    return F.softmax((scores + noise) / tau, dim=1)


def random_choice(maps: Tensor, among: Sequence[int], *, generator: torch.Generator | None = None) -> Tensor:
    """One of some experts at random for each pixel of maps (B, C, h, w): all of them learn from all pixels.

    Not the same weight for all: that would train the experts' mean, and no expert to stand alone.

    Args:
        maps: (B, C, h, w).
        among: the indices of the experts, in [0, J).
        generator: source of the choice; torch's default generator of the device if not given.

    Returns:
        (B, h, w) in [0, J).
    """
    place = torch.randint(len(among), maps[:, 0].shape, generator=generator, device=maps.device)
    return torch.tensor(among, device=maps.device)[place]


def random_gates(
    scores: Tensor, *, among: Sequence[int] | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """A random choice among some experts, all if not given, as weights of the experts, (B, J, h, w)."""
    choice = random_choice(scores, among or range(scores.shape[1]), generator=generator)
    return F.one_hot(choice, scores.shape[1]).movedim(-1, 1).to(scores)  # (B, h, w, J) -> (B, J, h, w)


def choose_expert(scores: Tensor) -> Tensor:
    """The expert of each LR pixel after training (paper, Eq. 4): arg max, (B, h, w)."""
    return scores.argmax(dim=1)


def use_everywhere(scores: Tensor, expert: int) -> Tensor:
    """Scores, (B, J, h, w) as the given ones, that choose one expert, in [0, J), for every pixel."""
    everywhere = torch.zeros_like(scores)
    everywhere[:, expert] = 1
    return everywhere


def deal_at_random(scores: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """The same scores (B, J, h, w) in the same shares, dealt to the pixels of each picture at random."""
    order = torch.randperm(scores[0, 0].numel(), generator=generator).to(scores.device)
    return scores.flatten(2)[:, :, order].view_as(scores)  # (B, J, h, w)


def mix_experts(
    experts: Sequence[Expert], ground: Ground, gates: Tensor, index: Tensor, rel: Tensor
) -> Tensor:
    """Every expert's answer, weighted by the gates of the LR pixel it decodes from (paper, Eq. 5).

    Args:
        experts: J experts.
        ground: what the embedding knows of each LR pixel.
        gates: (B, J, h, w).
        index: (N,).
        rel: (N, 2).

    Returns:
        RGB in [-1, 1], (N, 3).
    """
    weight = rows_at(gates.permute(0, 2, 3, 1).flatten(0, 2), index)  # (N, J)
    hidden = ground.first_layers(index, rel)
    answers = [expert.finish(h) for expert, h in zip(experts, hidden, strict=True)]
    return torch.stack(answers, dim=-1).mul(weight[:, None]).sum(-1)  # (N, 3, J) -> (N, 3)


def dispatch_experts(
    experts: Sequence[Expert], ground: Ground, groups: Sequence[Tensor], index: Tensor, rel: Tensor
) -> Tensor:
    """The answer of the one expert that a query is dealt to (paper, Eq. 4).

    Args:
        experts: J experts.
        ground: what the embedding knows of each LR pixel.
        groups: J of (N_j,), of the N queries those that are each expert's.
        index: (N,).
        rel: (N, 2).

    Returns:
        RGB in [-1, 1], (N, 3).
    """
    answers = [
        expert.finish(ground.first_layer(j, index[group], rel[group]))
        for j, (expert, group) in enumerate(zip(experts, groups, strict=True))
    ]
    answers = torch.cat(answers)
    return torch.empty_like(answers).index_copy(0, torch.cat(list(groups)), answers)


def group_by_expert(choice: Tensor, num_experts: int) -> tuple[Tensor, ...]:
    """Which of N each expert is chosen for, (N,) in [0, J) to J of (N_j,), each growing.

    On a GPU the host waits once, for the groups' sizes.
    """
    in_order, positions = choice.sort(stable=True)
    first_of_next = torch.searchsorted(in_order, torch.arange(1, num_experts, device=choice.device))
    bounds = [0, *first_of_next.tolist(), len(positions)]
    return positions.split([end - start for start, end in pairwise(bounds)])
