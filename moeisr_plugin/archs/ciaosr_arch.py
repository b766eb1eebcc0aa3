"""CiaoSR (Cao et al., CVPR 2023), and MoEISR on it, from the equations of the paper.

A query q at coordinate x has the neighbours t. Each has a key and a value, and both are weighted by a network
of the neighbour's own features, the relative coordinate and the cell ("attention in attention"):

    k_t' = k_t ⊙ f_k(k_t, x - x_t, cell)        v_t' = v_t ⊙ f_v(v_t, x - x_t, cell)
    rgb(x) = bilinear(x) + f_q(Σ_t softmax_t(q · k_t') v_t')

q, k_t and v_t are 3x3 latents; v_t also has the non-local features of the pixel. The experts of the mixture
take the place of f_v.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.base_image import BilinearBase
from moeisr_plugin.archs.coordinates import pixel_centers
from moeisr_plugin.archs.cross_scale_attention import CrossScaleAttention
from moeisr_plugin.archs.experts import Expert, make_experts
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitDecoder
from moeisr_plugin.archs.mapper import Mapper
from moeisr_plugin.archs.patches import Patches
from moeisr_plugin.archs.registry import register
from moeisr_plugin.ops.precision import at_least_float32
from moeisr_plugin.ops.rows import gather_rows

_EPSILON = 1e-6
_COORDINATES = 4
"""Width of the relative coordinate and the cell."""


class _Neighbours(NamedTuple):
    """The V latents around each query.

    Attributes:
        pixel: (V, B, Q), row of the LR pixel in a table flattened from (B, h, w).
        place: (V, B, Q, 4), coordinate relative to the LR pixel and cell, in latents, y first.
    """

    pixel: Tensor
    place: Tensor


class _AttentionDecoder(ImplicitDecoder):
    """What CiaoSR and its mixture share.

    Args:
        hidden_dim: width of the hidden layers of all decoder networks.
        depth: number of linear layers of f_q and f_k.
        value_depths: number of linear layers of each expert in the place of f_v.
        non_local_scales: scales of the non-local features; empty to omit them.
        local_ensemble: attend to four latents instead of the nearest one.
    """

    queries_at_a_time = 8192
    refined_tile = 128
    refined_context = 16

    def _build(
        self,
        *,
        hidden_dim: int,
        depth: int,
        value_depths: Sequence[int],
        non_local_scales: Sequence[int],
        local_ensemble: bool,
    ) -> None:
        channels = self.latent_channels
        self.local_ensemble = local_ensemble
        self.non_local = None
        if non_local_scales:
            self.non_local = CrossScaleAttention(channels=channels, scales=non_local_scales)
        keys, values = 9 * channels, 9 * channels + len(non_local_scales) * channels
        self.query = Expert(in_features=values, hidden_dim=hidden_dim, depth=depth)
        self.key = Expert(
            in_features=keys + _COORDINATES, hidden_dim=hidden_dim, depth=depth, out_features=keys
        )
        self.experts = make_experts(
            in_features=values + _COORDINATES,
            hidden_dim=hidden_dim,
            depths=value_depths,
            out_features=values,
        )
        self.base = BilinearBase()

    @property
    def refined_channels(self) -> int:
        scales = self.non_local.scales if self.non_local is not None else ()
        return self.latent_channels * (1 + len(scales))

    def refine(self, latent: Tensor) -> Tensor:
        """Append the non-local features to a latent (B, D, h, w)."""
        latent = at_least_float32(latent)
        return latent if self.non_local is None else torch.cat([latent, self.non_local(latent)], dim=1)

    def decode(self, encoding: Encoding, coord: Tensor, cell: Tensor) -> Tensor:
        scores = encoding.scores.permute(0, 2, 3, 1)  # (B, h, w, J)

        def weigh(inputs: Tensor, pixel: Tensor) -> Tensor:
            if len(self.experts) == 1:
                return self.experts[0](inputs)
            weights = inputs.new_empty(len(inputs), self.expert_list[0].out_features)
            # The choice of these pixels alone, because a picture may have many more.
            choice = scores[torch.unravel_index(pixel, scores.shape[:3])].argmax(-1)  # (N,)
            groups = routing.group_by_expert(choice, len(self.experts))
            for expert, group in zip(self.experts, groups, strict=True):
                if len(group):
                    weights = weights.index_copy(0, group, expert(inputs[group]).to(weights))
            return weights

        return self._attend(encoding, coord, cell, weigh)

    def mix(self, encoding: Encoding, coord: Tensor, cell: Tensor, gates: Tensor) -> Tensor:
        of_pixels = gates.permute(0, 2, 3, 1).flatten(0, 2)  # (B*h*w, J)

        def weigh(inputs: Tensor, pixel: Tensor) -> Tensor:
            weights = torch.stack([expert(inputs) for expert in self.experts], dim=-1)  # (N, C, J)
            return (weights * gather_rows(of_pixels, pixel)[:, None]).sum(-1)

        return self._attend(encoding, coord, cell, weigh)

    def _attend(self, encoding: Encoding, coord: Tensor, cell: Tensor, weigh: Any) -> Tensor:
        """Predict colours (B, Q, 3).

        Args:
            encoding, coord, cell: as in `decode`.
            weigh: f_v, from inputs (N, C + 4) at LR pixels (N,) to weights of the values, (N, C).
        """
        latent = encoding.latent
        near = self._neighbours(coord, cell, latent.shape[2:])
        local, extra = latent.split([self.latent_channels, latent.shape[1] - self.latent_channels], dim=1)
        rows, extra = Patches(local), extra.permute(0, 2, 3, 1).flatten(0, 2)  # (B*h*w, S*D)
        query = rows.at(self._nearest(coord, latent.shape[2:])).flatten(0, 1)  # (B*Q, 9*D)
        pixel, place = near.pixel.flatten(), near.place.flatten(0, 2)  # (V*B*Q,), (V*B*Q, 4)
        keys = rows.at(pixel)  # (V*B*Q, 9*D)
        values = torch.cat([keys, gather_rows(extra, pixel)], dim=1)  # (V*B*Q, C)
        keys = keys * self.key(torch.cat([keys, place], dim=1))
        values = values * weigh(torch.cat([values, place], dim=1), pixel)
        keys, values = (each.unflatten(0, (len(near.pixel), len(query))) for each in (keys, values))
        attention = (keys * query).sum(-1).softmax(0)  # (V, B*Q)
        attended = (attention[..., None] * values).sum(0)  # (B*Q, C)
        rgb = self.query(attended).unflatten(0, tuple(coord.shape[:2]))  # (B, Q, 3)
        return self.base(encoding.lr, coord) + rgb

    def _neighbours(self, coord: Tensor, cell: Tensor, latent_size: Sequence[int]) -> _Neighbours:
        """Find the latents around coordinates (B, Q, 2).

        CiaoSR shifts a query by (1 - cell) / (n - 1) along an axis of n latents, and LIIF by 1 / n. The cell
        of 2/H pixels is that of the output.
        """
        per_axis = []
        for axis, n in enumerate(latent_size):
            place = coord[..., axis]  # (B, Q)
            shift = (1 - cell[:, axis, None]) / max(n - 1, 1)  # (B, 1)
            signs = (-1, 1) if self.local_ensemble else (0,)
            shifted = torch.stack([place + sign * shift + abs(sign) * _EPSILON for sign in signs])
            index = _nearest_on_axis(shifted.clamp(-1 + _EPSILON, 1 - _EPSILON), n)  # (1 or 2, B, Q)
            centres = pixel_centers(n, dtype=coord.dtype, device=coord.device)
            per_axis.append((index, (place - centres[index]) * n))
        (row, rel_y), (column, rel_x) = per_axis
        row, rel_y = (each.repeat_interleave(len(column), 0) for each in (row, rel_y))  # (V, B, Q)
        column, rel_x = (each.repeat(len(per_axis[0][0]), 1, 1) for each in (column, rel_x))  # (V, B, Q)
        rel_cell = cell * cell.new_tensor(latent_size)  # (B, 2)
        rel_cell = rel_cell[:, None].expand(*row.shape, 2)
        place = torch.cat([torch.stack([rel_y, rel_x], dim=-1), rel_cell], dim=-1)  # (V, B, Q, 4)
        return _Neighbours(_flat_index(row, column, latent_size), place)

    def _nearest(self, coord: Tensor, latent_size: Sequence[int]) -> Tensor:
        """Return the row of the LR pixel nearest to each coordinate, (B, Q)."""
        row, column = (_nearest_on_axis(coord[..., axis], n) for axis, n in enumerate(latent_size))
        return _flat_index(row, column, latent_size)


def _nearest_on_axis(coord: Tensor, n: int) -> Tensor:
    return (((coord + 1) * n - 1) / 2).round().long().clamp(0, n - 1)


def _flat_index(row: Tensor, column: Tensor, latent_size: Sequence[int]) -> Tensor:
    """Return rows of a table flattened from (B, h, w) for indices (..., B, Q)."""
    height, width = latent_size
    sample = torch.arange(row.shape[-2], device=row.device)[:, None]  # (B, 1)
    return (sample * height + row) * width + column


@register
class CiaoSR(_AttentionDecoder):
    """CiaoSR (Cao et al., CVPR 2023): continuous implicit attention-in-attention.

    Args:
        encoder: an encoder, or the options that build it: its registered ``type`` and its parameters.
        hidden_dim: width of the hidden layers of the decoder.
        depth: number of linear layers of each of its three MLPs.
        non_local_scales: scales of the non-local features; empty to omit them. Their time and memory grow
            with the square of the LR pixels of a tile.
        local_ensemble: attend to the four latents around each query.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module | Mapping[str, Any],
        hidden_dim: int = 256,
        depth: int = 5,
        non_local_scales: Sequence[int] = (2,),
        local_ensemble: bool = True,
    ) -> None:
        parameters = {
            "hidden_dim": hidden_dim,
            "depth": depth,
            "non_local_scales": non_local_scales,
            "local_ensemble": local_ensemble,
        }
        super().__init__(encoder=encoder, **parameters)
        self._build(
            hidden_dim=hidden_dim,
            depth=depth,
            value_depths=[depth],
            non_local_scales=non_local_scales,
            local_ensemble=local_ensemble,
        )


@register
class MoEISRCiaoSR(_AttentionDecoder):
    """MoEISR on CiaoSR: experts of increasing depth weigh the values, and a mapper chooses among them.

    Args:
        encoder: an encoder, or the options that build it: its registered ``type`` and its parameters.
        hidden_dim: width of the hidden layers of the decoder.
        depth: number of linear layers of the MLPs of query and key.
        expert_depths: number of linear layers of each expert, strictly increasing.
        mapper_depth: number of convolutions of the mapper.
        mapper_kernel_size: size of their kernels, odd.
        mapper_hidden_dim: width between them. Defaults to the width of the latent.
        tau: temperature of the Gumbel-softmax in training.
        non_local_scales: scales of the non-local features; empty to omit them.
        local_ensemble: attend to the four latents around each query.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module | Mapping[str, Any],
        hidden_dim: int = 256,
        depth: int = 5,
        expert_depths: Sequence[int] = (2, 3, 4, 5),
        mapper_depth: int = 5,
        mapper_kernel_size: int = 3,
        mapper_hidden_dim: int | None = None,
        tau: float = 1.0,
        non_local_scales: Sequence[int] = (2,),
        local_ensemble: bool = True,
    ) -> None:
        parameters = {
            "hidden_dim": hidden_dim,
            "depth": depth,
            "expert_depths": expert_depths,
            "mapper_depth": mapper_depth,
            "mapper_kernel_size": mapper_kernel_size,
            "mapper_hidden_dim": mapper_hidden_dim,
            "tau": tau,
            "non_local_scales": non_local_scales,
            "local_ensemble": local_ensemble,
        }
        super().__init__(encoder=encoder, **parameters)
        self._build(
            hidden_dim=hidden_dim,
            depth=depth,
            value_depths=expert_depths,
            non_local_scales=non_local_scales,
            local_ensemble=local_ensemble,
        )
        self.tau = tau
        self.mapper = Mapper(
            latent_channels=self.refined_channels,
            num_experts=len(expert_depths),
            depth=mapper_depth,
            kernel_size=mapper_kernel_size,
            hidden_dim=mapper_hidden_dim or self.latent_channels,
        )
