"""Parameters and multiply-accumulates (MACs), which the paper calls FLOPs.

The MACs of a decoder are told in two ways: *as published*, where every query evaluates the whole of its
expert four times, once per neighbour, and the mapper once per LR pixel (paper, Table 3); and *as executed* by
`render`, where what depends on the LR pixel alone is computed once per LR pixel, and every LR pixel paints as
many output pixels as the one that is asked for most. In both, only products of matrices and convolutions
count.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from moeisr_plugin.archs import fast_path
from moeisr_plugin.archs.embeddings import Ground
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.workspace import Workspace
from moeisr_plugin.render.fused import without_kernels
from moeisr_plugin.render.grid import grid_axis
from moeisr_plugin.render.unfolded import macs_per_lr_pixel


def _product_flops(features: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(features) * weight[0]


def _convolution_flops(
    picture: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any
) -> int:
    return 2 * math.prod(weight) * picture[0] * math.prod(out_shape[2:])


# Operators that torch's counter passes over, as far as this torch has them.
_UNCOUNTED = {
    operator: flops
    for operator, flops in (
        (getattr(torch.ops.mkldnn, "_linear_pointwise", None), _product_flops),
        (getattr(torch.ops.aten, "_nnpack_spatial_convolution", None), _convolution_flops),
    )
    if operator is not None
}


@dataclass(frozen=True)
class Workload:
    """What falls to each of J experts in rendering a picture.

    Attributes:
        lr_pixels: LR pixels.
        queries: queries, counted once for each neighbour they are decoded from.
        around: rows and columns of the output that are decoded from one LR pixel, at most.
    """

    lr_pixels: tuple[int, ...]
    queries: tuple[int, ...]
    around: tuple[int, int]


def parameters(net: ImplicitSR) -> dict[str, int]:
    """Numbers of parameters by part."""
    return {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in net.named_children()
        if any(True for _ in part.parameters())
    }


def count_macs(compute: Callable[[], object]) -> int:
    """MACs of the matrix products and convolutions that a call runs.

    Nothing in it is done by kernels of Triton's, which do the same products uncounted.
    """
    with without_kernels(), FlopCounterMode(display=False, custom_mapping=_UNCOUNTED) as counter:
        compute()
    return counter.get_total_flops() // 2


def encoder_macs(net: ImplicitSR, lr_size: tuple[int, int]) -> int:
    """MACs of encoding an LR picture of a size (h, w)."""
    return _macs_of_module(net.encoder, (1, 3, *lr_size))


def mapper_macs(net: ImplicitSR, lr_size: tuple[int, int]) -> int:
    """MACs of mapping an LR picture of a size (h, w)."""
    return _macs_of_module(net.mapper, (1, _latent_channels(net), *lr_size))


def workload(net: ImplicitSR, choice: Tensor, size: tuple[int, int]) -> Workload:
    """The workload of rendering an output of a size (H, W) with an expert map (h, w)."""
    visits, around = zip(
        *(_along_axis(net, n, n_lr) for n, n_lr in zip(size, choice.shape, strict=True)), strict=True
    )
    visits = visits[0][:, None] * visits[1]  # (h, w) how often each LR pixel is a query's neighbour
    choice = choice.cpu()
    chosen = [choice == expert for expert in range(len(net.experts))]
    return Workload(
        lr_pixels=tuple(int(pixels.sum()) for pixels in chosen),
        queries=tuple(int(visits[pixels].sum()) for pixels in chosen),
        around=around,
    )


def extremes(net: ImplicitSR, lr_size: tuple[int, int], size: tuple[int, int]) -> list[Workload]:
    """The workloads that any routing lies between: all to the shallowest expert, all to the deepest."""
    experts = sorted({0, len(net.experts) - 1})
    return [workload(net, torch.full(lr_size, expert), size) for expert in experts]


def published_macs(net: ImplicitSR, work: Workload) -> int:
    """MACs of decoding a picture of which this is the workload, as the paper counts them."""
    experts = sum(expert.macs() * n for expert, n in zip(net.expert_list, work.queries, strict=True))
    return _mapper_macs(net, work) + experts


def executed_macs(net: ImplicitSR, work: Workload) -> int:
    """MACs that decoding it executes: operators counted on one LR pixel of each expert, times how many.

    Those of a network that `fast_path` does not serve are computed from its widths and depths, as operators
    of wrapped and quantised layers need not be countable.
    """
    if not fast_path.serves(net):
        lr_pixels = enumerate(work.lr_pixels)
        return _mapper_macs(net, work) + sum(macs_per_lr_pixel(net, j, work.around) * n for j, n in lr_pixels)
    fixed, executed = 0, _mapper_macs(net, work)
    for expert, lr_pixels in enumerate(work.lr_pixels):
        one, two = (count_macs(lambda n=n, j=expert: _ground(net, j, lr_pixels=n)) for n in (1, 2))
        fixed = 2 * one - two  # what one picture costs, whatever its size
        executed += (two - one + _surroundings_macs(net, expert, work.around)) * lr_pixels
    return fixed + executed


def _mapper_macs(net: ImplicitSR, work: Workload) -> int:
    return mapper_macs(net, (1, 1)) * sum(work.lr_pixels)


@torch.no_grad()
def _surroundings_macs(net: ImplicitSR, expert: int, around: tuple[int, int]) -> int:
    """What an expert computes for the output pixels around one LR pixel."""
    ground, mlp = _ground(net, expert, lr_pixels=1), net.expert_list[expert]
    rel_y, rel_x = (mlp.first.weight.new_zeros(1, n) for n in around)
    pixel = torch.zeros(1, dtype=torch.long, device=rel_y.device)
    return count_macs(
        lambda: mlp.finish(ground.first_layer_around(expert, pixel, rel_y, rel_x, workspace=Workspace()))
    )


@torch.no_grad()
def _ground(net: ImplicitSR, expert: int, *, lr_pixels: int) -> Ground:
    """What the embedding computes for a row of LR pixels that one expert decodes."""
    latent = net.expert_list[expert].first.weight.new_zeros(1, _latent_channels(net), 1, lr_pixels)
    pixels = torch.arange(lr_pixels, device=latent.device)
    groups = [pixels if j == expert else pixels[:0] for j in range(len(net.experts))]
    firsts = [each.first for each in net.expert_list]
    return net.embedding.ground(net.pad(latent), latent.new_ones(1, 2), firsts, groups)


@torch.no_grad()
def _macs_of_module(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Counted on tensors without contents, so that size costs nothing."""
    module = copy.deepcopy(module).to("meta", torch.float32).eval()
    return count_macs(lambda: module(torch.empty(shape, device="meta")))


def _along_axis(net: ImplicitSR, n: int, n_lr: int) -> tuple[Tensor, int]:
    """How often each LR pixel along an axis is a neighbour, (n_lr,), and the most that one is."""
    axis = grid_axis(n, n_lr, local_ensemble=net.local_ensemble, dtype=torch.float32)
    return torch.bincount(axis.index.flatten(), minlength=n_lr), axis.around.shape[1]


def _latent_channels(net: ImplicitSR) -> int:
    channels = net.encoder.latent_channels
    assert isinstance(channels, int)
    return channels
