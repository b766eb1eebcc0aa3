"""What an expert is told about a query: LIIF's and LTE's embeddings, with the first layer folded.

An expert begins with a Linear on the embedding of a query. Whatever of that layer depends on the LR pixel
alone is computed here once per LR pixel (the *ground*), not once per query.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.linear import linear
from moeisr_plugin.ops.precision import as_they_are
from moeisr_plugin.ops.rows import rows_at
from moeisr_plugin.ops.workspace import Workspace

# LR pixels whose neighbourhoods are gathered at a time: bounds memory, and stays in a processor's cache.
_GATHERED_PIXELS = {"cpu": 4096, "cuda": 65_536}


class Ground(Protocol):
    """What an embedding knows of each LR pixel, N of which queries refer to by ``index``."""

    def first_layer(self, expert: int, index: Tensor, rel: Tensor) -> Tensor:
        """The first layer of one expert before its ReLU, (N, hidden_dim), at index (N,), rel (N, 2)."""
        ...

    def first_layers(self, index: Tensor, rel: Tensor) -> list[Tensor]:
        """The first layers of all experts at the same queries."""
        ...

    def first_layer_around(
        self, expert: int, index: Tensor, rel_y: Tensor, rel_x: Tensor, *, workspace: Workspace
    ) -> Tensor:
        """The first layer of one expert, before its ReLU, at a grid of queries around each LR pixel.

        Args:
            expert: which one.
            index: (N,) the LR pixels.
            rel_y: (N, P) the rows of each pixel's grid, relative to it.
            rel_x: (N, R) the columns.
            workspace: for what is computed on the way.

        Returns:
            (N, P, R, hidden_dim), without a gradient; it may lie in the workspace.
        """
        ...


class Embedding(nn.Module):
    """What the experts are told about a query. A new backbone is a new embedding."""

    in_features: int
    """Width of what the experts' first layers read."""
    radius: int
    """How many latents around an LR pixel are looked at."""
    precise_parts: tuple[str, ...] = ()
    """Parts that bfloat16 is too coarse for."""

    def ground(
        self,
        latent: Tensor,
        rel_cell: Tensor,
        firsts: Sequence[nn.Linear],
        groups: Sequence[Tensor] | None = None,
    ) -> Ground:
        """What is computed once per LR pixel, in the latent's precision if not stated otherwise.

        Args:
            latent: (B, D, h + 2 * radius, w + 2 * radius), padded.
            rel_cell: (B, 2), the cell in latents, (2h/H, 2w/W).
            firsts: the first layers of J experts.
            groups: J of (N,), of the B*h*w LR pixels those at which an expert, and no other, will be asked
                for; any may be at each if not given.
        """
        raise NotImplementedError

    def rel_cell(self, size: tuple[int, int], latent_size: tuple[int, int]) -> tuple[float, float]:
        """The cell of an output grid (H, W) over a latent (h, w), in latents, as the experts are told it."""
        raise NotImplementedError


class LIIFGround(NamedTuple):
    """First layers of LIIF's experts but for the two columns of the relative coordinate."""

    tables: list[Tensor]  # J of (B*h*w, hidden_dim)
    rel_columns: list[Tensor]  # J of (2, hidden_dim)

    def first_layer(self, expert: int, index: Tensor, rel: Tensor) -> Tensor:
        hidden = rows_at(self.tables[expert], index)  # (N, hidden_dim)
        return hidden.addmm_(rel.to(hidden), self.rel_columns[expert].to(hidden))

    def first_layers(self, index: Tensor, rel: Tensor) -> list[Tensor]:
        return [self.first_layer(expert, index, rel) for expert in range(len(self.tables))]

    def first_layer_around(
        self, expert: int, index: Tensor, rel_y: Tensor, rel_x: Tensor, *, workspace: Workspace
    ) -> Tensor:
        column_y, column_x = self.rel_columns[expert]  # (hidden_dim,) each
        (n, per_y), per_x, width = rel_y.shape, rel_x.shape[1], len(column_y)
        table = self.tables[expert]
        rows = workspace.empty("rows", (n, per_y, width), like=table)
        columns = workspace.empty("columns", (n, per_x, width), like=table)
        hidden = workspace.empty("hidden", (n, per_y, per_x, width), like=table)
        torch.addcmul(rows_at(table, index)[:, None], rel_y[..., None], column_y, out=rows)
        torch.mul(rel_x[..., None], column_x, out=columns)
        return torch.add(rows[:, :, None], columns[:, None], out=hidden)


class LIIFParts(NamedTuple):
    """A first layer of LIIF, taken apart by what it is told."""

    of_latent: Tensor  # (hidden_dim, D*side²)
    of_rel: Tensor  # (hidden_dim, 2)
    constant: Tensor  # (B, hidden_dim), its bias and what it makes of the cell, in float32 or better


class LIIFEmbedding(Embedding):
    """LIIF: the latent's 3x3 neighbourhood, the relative coordinate, the cell (LIIF, section 3).

    Its first layer W·[unfold(z); rel; cell] + b is the convolution of z with W's first columns, plus two
    outer products.

    Args:
        latent_channels: width D of the latent.
        unfold: feature unfolding, the 3x3 neighbourhood instead of the latent alone.
        cell_decode: tell the experts the cell.
    """

    def __init__(self, *, latent_channels: int, unfold: bool = True, cell_decode: bool = True) -> None:
        super().__init__()
        self.radius = 1 if unfold else 0
        self.latent_columns = latent_channels * (2 * self.radius + 1) ** 2
        self.cell_columns = 2 if cell_decode else 0
        self.in_features = self.latent_columns + 2 + self.cell_columns

    def ground(
        self,
        latent: Tensor,
        rel_cell: Tensor,
        firsts: Sequence[nn.Linear],
        groups: Sequence[Tensor] | None = None,
    ) -> LIIFGround:
        of_latent, of_rel, constants = zip(*(self.parts(first, rel_cell) for first in firsts), strict=True)
        constants = [constant.to(latent) for constant in constants]
        if groups is None:
            tables = self._tables(latent, of_latent, constants)
        else:
            tables = [self._routed_table(latent, of_latent, constants, groups)] * len(firsts)
        # A column's numbers side by side in memory, or no vector instruction reads them.
        return LIIFGround(tables, [columns.t().contiguous() for columns in of_rel])

    def parts(self, first: nn.Linear, rel_cell: Tensor) -> LIIFParts:
        """An expert's first layer, given the cells in latents, (B, 2)."""
        splits = [self.latent_columns, 2, self.cell_columns]
        of_latent, of_rel, of_cell = first.weight.split(splits, dim=1)
        rel_cell = rel_cell[:, : self.cell_columns]
        with as_they_are(rel_cell):
            constant = F.linear(rel_cell, of_cell.to(rel_cell), first.bias.to(rel_cell))
        return LIIFParts(of_latent, of_rel, constant)

    def _tables(self, latent: Tensor, columns: Sequence[Tensor], constants: Sequence[Tensor]) -> list[Tensor]:
        side = 2 * self.radius + 1
        kernel = torch.cat(list(columns)).unflatten(1, (-1, side, side))  # (J*hidden_dim, D, side, side)
        maps = F.conv2d(latent, kernel) + torch.cat(list(constants), dim=1)[..., None, None]
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2)  # (B*h*w, J*hidden_dim)
        return list(rows.split([len(c) for c in columns], dim=1))

    def _routed_table(
        self, latent: Tensor, columns: Sequence[Tensor], constants: Sequence[Tensor], groups: Sequence[Tensor]
    ) -> Tensor:
        side = 2 * self.radius + 1
        batch, channels, padded_height, padded_width = latent.shape
        height, width = padded_height - 2 * self.radius, padded_width - 2 * self.radius
        pixels = latent.permute(0, 2, 3, 1).reshape(-1, channels)  # (B*(h+2r)*(w+2r), D)
        row = torch.arange(len(pixels), device=latent.device).view(batch, padded_height, padded_width)
        corner = row[:, :height, :width].flatten()  # (B*h*w,) row of each neighbourhood's first latent
        offset = row[0, :side, :side].flatten()  # (side*side,) from there to the others
        sample = torch.arange(batch, device=latent.device).repeat_interleave(height * width)  # (B*h*w,)

        table = latent.new_empty(len(corner), len(columns[0]))
        at_a_time = limit_for(_GATHERED_PIXELS, latent)
        for weight, constant, group in zip(columns, constants, groups, strict=True):
            weight = weight.unflatten(1, (channels, side * side)).transpose(1, 2).flatten(1)  # as gathered
            for rows in group.split(at_a_time):
                around = corner[rows, None] + offset  # (N, side*side)
                gathered = rows_at(pixels, around.flatten())  # (N*side*side, D)
                gathered = gathered.view(len(rows), weight.shape[1])  # (N, side*side*D)
                table[rows] = linear(gathered, weight).to(table) + rows_at(constant, sample[rows])
        return table

    def rel_cell(self, size: tuple[int, int], latent_size: tuple[int, int]) -> tuple[float, float]:
        return 2 * latent_size[0] / size[0], 2 * latent_size[1] / size[1]


class LTEGround(NamedTuple):
    """Amplitudes, frequencies and phases of LTE per LR pixel, and the experts' first layers."""

    coef: Tensor  # (B*h*w, F)
    freq: Tensor  # (B*h*w, F), the F/2 frequencies in y, then those in x, in float32 or better
    phase: Tensor  # (B, F/2), likewise
    firsts: Sequence[nn.Linear]

    def features(self, index: Tensor, rel: Tensor) -> Tensor:
        """The embedding of queries, (N, F): coef · [cos π(f·rel + phase); sin π(f·rel + phase)]."""
        freq_y, freq_x = rows_at(self.freq, index).chunk(2, dim=1)  # (N, F/2) each
        angle = (
            torch.addcmul(self._phase(index), freq_y, rel[:, :1]).addcmul(freq_x, rel[:, 1:]).mul(math.pi)
        )  # (N, F/2)
        return rows_at(self.coef, index) * torch.cat([angle.cos(), angle.sin()], dim=1)

    def first_layer(self, expert: int, index: Tensor, rel: Tensor) -> Tensor:
        first = self.firsts[expert]
        return linear(self.features(index, rel).to(self.coef), first.weight, first.bias)

    def first_layers(self, index: Tensor, rel: Tensor) -> list[Tensor]:
        features = self.features(index, rel).to(self.coef)
        return [linear(features, first.weight, first.bias) for first in self.firsts]

    def first_layer_around(
        self, expert: int, index: Tensor, rel_y: Tensor, rel_x: Tensor, *, workspace: Workspace
    ) -> Tensor:
        # e^(iπ(f_y r_y + f_x r_x + phase)) is the product of a row's phasor and a column's, so that sines are
        # taken of P + R angles per pixel instead of P·R. The row's phasors carry the amplitudes.
        (n, per_y), per_x, half = rel_y.shape, rel_x.shape[1], self.freq.shape[1] // 2
        freq_y, freq_x = rows_at(self.freq, index)[:, None].chunk(2, dim=2)  # (N, 1, F/2) each
        angle_y = workspace.empty("angle y", (n, per_y, half), like=self.freq)
        angle_x = workspace.empty("angle x", (n, per_x, half), like=self.freq)
        torch.mul(rel_y[..., None], freq_y, out=angle_y).add_(self._phase(index)[:, None]).mul_(math.pi)
        torch.mul(rel_x[..., None], freq_x, out=angle_x).mul_(math.pi)

        cos_y, sin_y = workspace.empty("phasor y", (2, n, per_y, half), like=self.freq)
        torch.cos(angle_y, out=cos_y)
        torch.sin(angle_y, out=sin_y)
        of_cos, of_sin = rows_at(self.coef, index)[:, None].chunk(2, dim=2)  # (N, 1, F/2) each
        same, turned = workspace.empty("amplitudes", (2, n, per_y, 1, 2, half), like=self.coef)
        torch.mul(of_cos, cos_y, out=same[:, :, 0, 0])
        torch.mul(of_sin, sin_y, out=same[:, :, 0, 1])
        torch.mul(-of_cos, sin_y, out=turned[:, :, 0, 0])
        torch.mul(of_sin, cos_y, out=turned[:, :, 0, 1])

        cos_x, sin_x = workspace.empty("phasor x", (2, n, 1, per_x, 1, half), like=self.coef)
        torch.cos(angle_x, out=cos_x[:, 0, :, 0])
        torch.sin(angle_x, out=sin_x[:, 0, :, 0])
        features = workspace.empty("features", (n, per_y, per_x, 2, half), like=self.coef)
        torch.mul(same, cos_x, out=features).addcmul_(turned, sin_x)

        first = self.firsts[expert]
        return linear(features.flatten(3), first.weight, first.bias)

    def _phase(self, index: Tensor) -> Tensor:
        """The phases of each query's sample, (N, F/2), or (1, F/2) if there is but one sample."""
        latents_per_sample = len(self.coef) // len(self.phase)
        return rows_at(self.phase, index // latents_per_sample) if len(self.phase) > 1 else self.phase


class LTEEmbedding(Embedding):
    """LTE: amplitudes and frequencies estimated from the latent, phases from the cell (LTE, section 3).

    Args:
        latent_channels: width D of the latent.
        num_freq_features: width F of the embedding, F/2 frequencies.
        max_trained_scale: at larger scales the network is told the cell of this one, as published.
    """

    radius = 1
    precise_parts = ("freq", "phase")

    def __init__(
        self, *, latent_channels: int, num_freq_features: int = 256, max_trained_scale: float = 4.0
    ) -> None:
        super().__init__()
        self.in_features = num_freq_features
        self.max_trained_scale = max_trained_scale
        # Padded for the published weights' sake; the ground takes a latent that is padded already.
        self.coef = nn.Conv2d(latent_channels, num_freq_features, 3, padding=1)
        self.freq = nn.Conv2d(latent_channels, num_freq_features, 3, padding=1)
        self.phase = nn.Linear(2, num_freq_features // 2, bias=False)

    def ground(
        self,
        latent: Tensor,
        rel_cell: Tensor,
        firsts: Sequence[nn.Linear],
        groups: Sequence[Tensor] | None = None,
    ) -> LTEGround:
        # Amplitudes and frequencies serve every expert, so the groups are not looked at.
        coef = F.conv2d(latent, self.coef.weight, self.coef.bias)  # (B, F, h, w)
        # The published frequencies are consecutive pairs (y, x).
        by_axis = torch.cat([self.freq.weight[0::2], self.freq.weight[1::2]])
        assert self.freq.bias is not None
        by_axis_bias = torch.cat([self.freq.bias[0::2], self.freq.bias[1::2]])
        with as_they_are(latent):
            freq = F.conv2d(latent.to(by_axis), by_axis, by_axis_bias)
            phase = self.phase(rel_cell.to(by_axis))
        coef, freq = (maps.permute(0, 2, 3, 1).flatten(0, 2) for maps in (coef, freq))  # (B*h*w, F)
        return LTEGround(coef, freq, phase, firsts)

    def rel_cell(self, size: tuple[int, int], latent_size: tuple[int, int]) -> tuple[float, float]:
        smallest = 2 / self.max_trained_scale
        return max(2 * latent_size[0] / size[0], smallest), max(2 * latent_size[1] / size[1], smallest)
