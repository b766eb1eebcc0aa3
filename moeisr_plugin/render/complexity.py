"""Parameters and multiply-accumulates (MACs), which the paper calls FLOPs.

The MACs of a decoder are counted in two ways. Both count only matrix products and convolutions.

*As published* (paper, Table 3): each query evaluates a whole expert once per neighbour, that is, four times.
The mapper is evaluated once per LR pixel.

*As executed* by `render`: terms that depend only on the LR pixel are computed once per LR pixel. All LR
pixels have as many queries as the one with the most.
"""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moeisr_plugin.archs import fast_path
from moeisr_plugin.archs.embeddings import PixelTerms
from moeisr_plugin.archs.implicit_network import ImplicitDecoder, ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.workspace import Workspace
from moeisr_plugin.render.decoder_macs import count_macs, unfolded_decoder_macs
from moeisr_plugin.render.grid import grid_axis
from moeisr_plugin.render.unfolded import macs_per_lr_pixel


@dataclass(frozen=True)
class Workload:
    """Work of each of J experts in rendering an image.

    Attributes:
        lr_pixels: number of LR pixels of each expert.
        queries: number of queries of each expert, counted once per neighbour.
        pixel_grid: largest numbers of rows and columns of the output that are decoded from one LR pixel.
    """

    lr_pixels: tuple[int, ...]
    queries: tuple[int, ...]
    pixel_grid: tuple[int, int]


def parameters(net: ImplicitNetwork) -> dict[str, int]:
    """Count the parameters of each part of a network."""
    return {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in net.named_children()
        if any(True for _ in part.parameters())
    }


def encoder_macs(net: ImplicitNetwork, lr_size: tuple[int, int]) -> int:
    """Count the MACs of encoding an LR image of size (h, w)."""
    return _macs_of_module(net.encoder, (1, 3, *lr_size))


def mapper_macs(net: ImplicitNetwork, lr_size: tuple[int, int]) -> int:
    """Count the MACs of the mapper for an LR image of size (h, w)."""
    return _macs_of_module(net.mapper, (1, _latent_channels(net), *lr_size))


def workload(net: ImplicitNetwork, choice: Tensor, size: tuple[int, int]) -> Workload:
    """Compute the workload of rendering an output of size (H, W) with an expert map (h, w)."""
    visits, pixel_grid = zip(
        *(_along_axis(net, n, n_lr) for n, n_lr in zip(size, choice.shape, strict=True)), strict=True
    )
    visits = visits[0][:, None] * visits[1]  # (h, w), how often each LR pixel is a neighbour of a query
    choice = choice.cpu()
    chosen = [choice == expert for expert in range(net.num_experts)]
    return Workload(
        lr_pixels=tuple(int(pixels.sum()) for pixels in chosen),
        queries=tuple(int(visits[pixels].sum()) for pixels in chosen),
        pixel_grid=pixel_grid,
    )


def extreme_workloads(
    net: ImplicitNetwork, lr_size: tuple[int, int], size: tuple[int, int]
) -> list[Workload]:
    """Return the workloads with all LR pixels routed to the shallowest expert, and to the deepest.

    There is only one workload if the network has one expert.
    """
    experts = sorted({0, net.num_experts - 1})
    return [workload(net, torch.full(lr_size, expert), size) for expert in experts]


def published_macs(net: ImplicitNetwork, work: Workload) -> int:
    """Count the MACs of decoding as published: mapper and whole experts for each query.

    For a decoder without folding, this is the number as executed.
    """
    if not isinstance(net, ImplicitSR):
        return executed_macs(net, work)
    experts = sum(expert.macs() * n for expert, n in zip(net.expert_list, work.queries, strict=True))
    return _mapper_macs(net, work) + experts


def executed_macs(net: ImplicitNetwork, work: Workload) -> int:
    """Count the MACs of decoding as executed.

    Operators are counted for one LR pixel of each expert and multiplied by the number of its LR pixels. The
    MACs of a network that `fast_path` does not serve follow from its widths and depths, because operators of
    wrapped and quantised layers are not always countable.
    """
    if isinstance(net, ImplicitDecoder):
        return _mapper_macs(net, work) + unfolded_decoder_macs(net, work.lr_pixels, work.queries)
    if not isinstance(net, ImplicitSR):
        raise ValueError(f"{type(net).__name__}: its MACs are not known; make it an ImplicitDecoder")
    cost = folded_cost(net, work.pixel_grid)
    per_pixel = zip(cost.per_lr_pixel, work.lr_pixels, strict=True)
    return _mapper_macs(net, work) + cost.fixed + sum(macs * n for macs, n in per_pixel)


class FoldedCost(NamedTuple):
    """MACs of decoding as executed, without the mapper.

    Attributes:
        fixed: those that do not depend on the number of LR pixels.
        per_lr_pixel: those of an LR pixel of each expert.
    """

    fixed: int
    per_lr_pixel: tuple[int, ...]


def folded_cost(net: ImplicitSR, pixel_grid: tuple[int, int]) -> FoldedCost:
    """Count the MACs of decoding the output pixels around one LR pixel, for each expert."""
    experts = range(net.num_experts)
    if not fast_path.serves(net):
        return FoldedCost(0, tuple(macs_per_lr_pixel(net, j, pixel_grid) for j in experts))
    fixed, per_pixel = 0, []
    for expert in experts:
        one, two = (count_macs(lambda n=n, j=expert: _precompute_row(net, j, lr_pixels=n)) for n in (1, 2))
        fixed = 2 * one - two  # independent of the size of the image
        per_pixel.append(two - one + _pixel_grid_macs(net, expert, pixel_grid))
    return FoldedCost(fixed, tuple(per_pixel))


def _mapper_macs(net: ImplicitNetwork, work: Workload) -> int:
    return mapper_macs(net, (1, 1)) * sum(work.lr_pixels)


@torch.no_grad()
def _pixel_grid_macs(net: ImplicitSR, expert: int, pixel_grid: tuple[int, int]) -> int:
    """Count the MACs of one expert for the output pixels around one LR pixel."""
    terms, mlp = _precompute_row(net, expert, lr_pixels=1), net.expert_list[expert]
    rel_y, rel_x = (mlp.first.weight.new_zeros(1, n) for n in pixel_grid)
    pixel = torch.zeros(1, dtype=torch.long, device=rel_y.device)
    return count_macs(
        lambda: mlp.finish(terms.first_layer_on_grid(expert, pixel, rel_y, rel_x, workspace=Workspace()))
    )


@torch.no_grad()
def _precompute_row(net: ImplicitSR, expert: int, *, lr_pixels: int) -> PixelTerms:
    """Compute the terms of a row of LR pixels that are all routed to one expert."""
    latent = net.expert_list[expert].first.weight.new_zeros(1, _latent_channels(net), 1, lr_pixels)
    pixels = torch.arange(lr_pixels, device=latent.device)
    groups = [pixels if j == expert else pixels[:0] for j in range(net.num_experts)]
    firsts = [each.first for each in net.expert_list]
    return net.embedding.precompute(net.pad(latent), latent.new_ones(1, 2), firsts, groups)


@torch.no_grad()
def _macs_of_module(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Count MACs on meta tensors, so that large images take no time."""
    module = copy.deepcopy(module).to("meta", torch.float32).eval()
    return count_macs(lambda: module(torch.empty(shape, device="meta")))


def _along_axis(net: ImplicitNetwork, n: int, n_lr: int) -> tuple[Tensor, int]:
    """Return how often each LR pixel along an axis is a neighbour, (n_lr,), and its largest grid."""
    axis = grid_axis(n, n_lr, local_ensemble=net.local_ensemble, dtype=torch.float32)
    return torch.bincount(axis.index.flatten() + axis.first, minlength=n_lr), axis.offsets.shape[1]


def _latent_channels(net: ImplicitNetwork) -> int:
    return net.refined_channels
