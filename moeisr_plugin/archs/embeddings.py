"""Embeddings of LIIF and LTE, with the first layer of each expert folded into them.

The first layer of an expert is linear in the embedding of a query. Its terms that depend only on the LR pixel
are computed once per LR pixel instead of once per query.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.linear import linear
from moeisr_plugin.ops.precision import without_autocast
from moeisr_plugin.ops.rows import gather_rows
from moeisr_plugin.ops.workspace import Workspace

# LR pixels whose neighbourhoods are gathered in one step. Limits memory; on a CPU the result fits its cache.
_GATHERED_PIXELS = {"cpu": 4096, "cuda": 65_536}


class PixelTerms(Protocol):
    """Terms of the experts' first layers that depend only on the LR pixel.

    A query refers to its LR pixel by ``index``, a row of a table flattened from (B, h, w).
    """

    def first_layer(self, expert: int, index: Tensor, rel: Tensor) -> Tensor:
        """Evaluate the first layer of one expert before its ReLU.

        Args:
            expert: index of the expert in [0, J).
            index: (N,), LR pixel of each query. N can be 0, for an expert without queries. So give all sizes
                of a view: with -1 torch cannot infer a size of no elements.
            rel: (N, 2), coordinate relative to the LR pixel, y first.

        Returns:
            (N, hidden_dim).
        """
        ...

    def first_layers(self, index: Tensor, rel: Tensor) -> list[Tensor]:
        """Evaluate the first layers of all J experts at the same queries. See :meth:`first_layer`."""
        ...

    def first_layer_on_grid(
        self, expert: int, index: Tensor, rel_y: Tensor, rel_x: Tensor, *, workspace: Workspace
    ) -> Tensor:
        """Evaluate the first layer of one expert before its ReLU at a grid of queries around each LR pixel.

        Args:
            expert: index of the expert in [0, J).
            index: (N,), the LR pixels, at least one.
            rel_y: (N, P), y of the P grid rows relative to the LR pixel.
            rel_x: (N, R), x of the R grid columns relative to the LR pixel.
            workspace: scratch buffers for intermediate results.

        Returns:
            (N, P, R, hidden_dim), without gradient. It may be a view of a scratch buffer.
        """
        ...


class Embedding(nn.Module):
    """Maps a query to the input of the experts. A new backbone is a new subclass."""

    in_features: int
    """Width of the embedding."""
    radius: int
    """Radius of the receptive field in latents: 1 for a 3x3 neighbourhood, 0 for a single latent."""
    precise_parts: tuple[str, ...] = ()
    """Names of submodules that need more precision than bfloat16."""

    def precompute(
        self,
        latent: Tensor,
        rel_cell: Tensor,
        firsts: Sequence[nn.Linear],
        groups: Sequence[Tensor] | None = None,
    ) -> PixelTerms:
        """Compute the terms that depend only on the LR pixel, in the precision of the latent.

        Args:
            latent: (B, D, h + 2 * radius, w + 2 * radius), padded.
            rel_cell: (B, 2), the cell relative to a latent, (2h/H, 2w/W).
            firsts: first layers of the J experts.
            groups: J tensors (N_j,), the LR pixels in [0, B*h*w) that are routed to each expert; N_j can be
                0. Only the terms of this expert are then valid at these pixels. If None, all terms are valid
                everywhere.

        Returns:
            Terms at B*h*w LR pixels.
        """
        raise NotImplementedError

    def rel_cell(self, size: tuple[int, int], latent_size: tuple[int, int]) -> tuple[float, float]:
        """Return the cell of an output grid relative to a latent, as the experts receive it.

        Args:
            size: (H, W) of the output.
            latent_size: (h, w) of the latent.

        Returns:
            (2h/H, 2w/W), possibly clipped.
        """
        raise NotImplementedError


class LIIFPixelTerms(NamedTuple):
    """Terms of the first layers on the LIIF embedding.

    Attributes:
        tables: J tensors (B*h*w, hidden_dim), the first layers without the relative coordinate.
        rel_columns: J tensors (2, hidden_dim), the weights of the relative coordinate (y, x).
    """

    tables: list[Tensor]
    rel_columns: list[Tensor]

    def first_layer(self, expert: int, index: Tensor, rel: Tensor) -> Tensor:
        hidden = gather_rows(self.tables[expert], index)  # (N, hidden_dim)
        return hidden.addmm_(rel.to(hidden), self.rel_columns[expert].to(hidden))

    def first_layers(self, index: Tensor, rel: Tensor) -> list[Tensor]:
        return [self.first_layer(expert, index, rel) for expert in range(len(self.tables))]

    def first_layer_on_grid(
        self, expert: int, index: Tensor, rel_y: Tensor, rel_x: Tensor, *, workspace: Workspace
    ) -> Tensor:
        column_y, column_x = self.rel_columns[expert]  # (hidden_dim,) each
        (n, per_y), per_x, width = rel_y.shape, rel_x.shape[1], len(column_y)
        table = self.tables[expert]
        rows = workspace.empty("rows", (n, per_y, width), like=table)
        columns = workspace.empty("columns", (n, per_x, width), like=table)
        hidden = workspace.empty("hidden", (n, per_y, per_x, width), like=table)
        torch.addcmul(gather_rows(table, index)[:, None], rel_y[..., None], column_y, out=rows)  # (N, P, C)
        torch.mul(rel_x[..., None], column_x, out=columns)  # (N, R, C)
        return torch.add(rows[:, :, None], columns[:, None], out=hidden)  # (N, P, R, C)


class LIIFParts(NamedTuple):
    """A first layer on the LIIF embedding, split by its input.

    Attributes:
        of_latent: (hidden_dim, D*side²), weights of the unfolded latent.
        of_rel: (hidden_dim, 2), weights of the relative coordinate.
        constant: (B, hidden_dim), bias plus the product with the cell, in float32 or better.
    """

    of_latent: Tensor
    of_rel: Tensor
    constant: Tensor


class LIIFEmbedding(Embedding):
    """LIIF embedding: 3x3 latents, relative coordinate and cell (LIIF, section 3).

    The first layer W·[unfold(z); rel; cell] + b equals a convolution of z with the first columns of W, plus
    the products of rel and of cell with the other columns.

    Args:
        latent_channels: width D of the latent.
        unfold: feature unfolding; embed the 3x3 neighbourhood instead of a single latent.
        cell_decode: cell decoding; append the cell to the embedding.
    """

    def __init__(self, *, latent_channels: int, unfold: bool = True, cell_decode: bool = True) -> None:
        super().__init__()
        self.radius = 1 if unfold else 0
        self.latent_columns = latent_channels * (2 * self.radius + 1) ** 2
        self.cell_columns = 2 if cell_decode else 0
        self.in_features = self.latent_columns + 2 + self.cell_columns

    def precompute(
        self,
        latent: Tensor,
        rel_cell: Tensor,
        firsts: Sequence[nn.Linear],
        groups: Sequence[Tensor] | None = None,
    ) -> LIIFPixelTerms:
        of_latent, of_rel, constants = zip(*(self.parts(first, rel_cell) for first in firsts), strict=True)
        constants = [constant.to(latent) for constant in constants]
        if groups is None:
            tables = self._tables(latent, of_latent, constants)
        else:
            tables = [self._routed_table(latent, of_latent, constants, groups)] * len(firsts)
        # Contiguous columns allow vector instructions.
        return LIIFPixelTerms(tables, [columns.t().contiguous() for columns in of_rel])

    def parts(self, first: nn.Linear, rel_cell: Tensor) -> LIIFParts:
        """Split a first layer by its input.

        Args:
            first: first layer of an expert.
            rel_cell: (B, 2), the cell relative to a latent.
        """
        splits = [self.latent_columns, 2, self.cell_columns]
        of_latent, of_rel, of_cell = first.weight.split(splits, dim=1)
        rel_cell = rel_cell[:, : self.cell_columns]
        with without_autocast(rel_cell):
            constant = F.linear(rel_cell, of_cell.to(rel_cell), first.bias.to(rel_cell))
        return LIIFParts(of_latent, of_rel, constant)

    def _tables(self, latent: Tensor, columns: Sequence[Tensor], constants: Sequence[Tensor]) -> list[Tensor]:
        """Evaluate all J experts at all LR pixels. Return J tables (B*h*w, hidden_dim)."""
        side = 2 * self.radius + 1
        kernel = torch.cat(list(columns)).unflatten(1, (-1, side, side))  # (J*hidden_dim, D, side, side)
        maps = F.conv2d(latent, kernel) + torch.cat(list(constants), dim=1)[..., None, None]  # (B, J*C, h, w)
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2)  # (B*h*w, J*hidden_dim)
        return list(rows.split([len(c) for c in columns], dim=1))

    def _routed_table(
        self, latent: Tensor, columns: Sequence[Tensor], constants: Sequence[Tensor], groups: Sequence[Tensor]
    ) -> Tensor:
        """Evaluate at each LR pixel only the expert it is routed to. Return a table (B*h*w, hidden_dim)."""
        side = 2 * self.radius + 1
        batch, channels, padded_height, padded_width = latent.shape
        height, width = padded_height - 2 * self.radius, padded_width - 2 * self.radius
        pixels = latent.permute(0, 2, 3, 1).reshape(-1, channels)  # (B*(h+2r)*(w+2r), D)
        row = torch.arange(len(pixels), device=latent.device).view(batch, padded_height, padded_width)
        corner = row[:, :height, :width].flatten()  # (B*h*w,), first latent of each neighbourhood
        offset = row[0, :side, :side].flatten()  # (side*side,), offsets from the first latent
        sample = torch.arange(batch, device=latent.device).repeat_interleave(height * width)  # (B*h*w,)

        table = latent.new_empty(len(corner), len(columns[0]))
        at_a_time = limit_for(_GATHERED_PIXELS, latent)
        for weight, constant, group in zip(columns, constants, groups, strict=True):
            # From the order of unfold, (D, side²), to the order of the gathered rows, (side², D).
            weight = weight.unflatten(1, (channels, side * side)).transpose(1, 2).flatten(1)
            for rows in group.split(at_a_time):
                neighbourhood = corner[rows, None] + offset  # (N, side*side)
                gathered = gather_rows(pixels, neighbourhood.flatten())  # (N*side*side, D)
                gathered = gathered.view(len(rows), weight.shape[1])  # (N, side*side*D)
                table[rows] = linear(gathered, weight).to(table) + gather_rows(constant, sample[rows])
        return table

    def rel_cell(self, size: tuple[int, int], latent_size: tuple[int, int]) -> tuple[float, float]:
        return 2 * latent_size[0] / size[0], 2 * latent_size[1] / size[1]


class LTEPixelTerms(NamedTuple):
    """Terms of the LTE embedding, and the first layers of the experts.

    Attributes:
        coef: (B*h*w, F), amplitudes.
        freq: (B*h*w, F), the F/2 frequencies in y, then the F/2 frequencies in x, in float32 or better.
        phase: (B, F/2), phases, in float32 or better.
        firsts: J layers, (F,) to (hidden_dim,).
    """

    coef: Tensor
    freq: Tensor
    phase: Tensor
    firsts: Sequence[nn.Linear]

    def features(self, index: Tensor, rel: Tensor) -> Tensor:
        """Return the embedding coef · [cos π(f·rel + phase); sin π(f·rel + phase)] (LTE, section 3).

        Args:
            index: (N,), LR pixel of each query.
            rel: (N, 2), coordinate relative to the LR pixel, y first.

        Returns:
            (N, F).
        """
        freq_y, freq_x = gather_rows(self.freq, index).chunk(2, dim=1)  # (N, F/2) each
        angle = (
            torch.addcmul(self._phase(index), freq_y, rel[:, :1]).addcmul(freq_x, rel[:, 1:]).mul(math.pi)
        )  # (N, F/2)
        return gather_rows(self.coef, index) * torch.cat([angle.cos(), angle.sin()], dim=1)

    def first_layer(self, expert: int, index: Tensor, rel: Tensor) -> Tensor:
        first = self.firsts[expert]
        return linear(self.features(index, rel).to(self.coef), first.weight, first.bias)

    def first_layers(self, index: Tensor, rel: Tensor) -> list[Tensor]:
        features = self.features(index, rel).to(self.coef)
        return [linear(features, first.weight, first.bias) for first in self.firsts]

    def first_layer_on_grid(
        self, expert: int, index: Tensor, rel_y: Tensor, rel_x: Tensor, *, workspace: Workspace
    ) -> Tensor:
        # e^(iπ(f_y r_y + f_x r_x + phase)) is the product of a phasor of the row and one of the column. This
        # takes the sines of P + R angles per LR pixel instead of P·R. Row phasors include the amplitudes.
        (n, per_y), per_x, half = rel_y.shape, rel_x.shape[1], self.freq.shape[1] // 2
        freq_y, freq_x = gather_rows(self.freq, index)[:, None].chunk(2, dim=2)  # (N, 1, F/2) each
        angle_y = workspace.empty("angle y", (n, per_y, half), like=self.freq)
        angle_x = workspace.empty("angle x", (n, per_x, half), like=self.freq)
        torch.mul(rel_y[..., None], freq_y, out=angle_y).add_(self._phase(index)[:, None]).mul_(math.pi)
        torch.mul(rel_x[..., None], freq_x, out=angle_x).mul_(math.pi)

        cos_y, sin_y = workspace.empty("phasor y", (2, n, per_y, half), like=self.freq)
        torch.cos(angle_y, out=cos_y)
        torch.sin(angle_y, out=sin_y)
        of_cos, of_sin = gather_rows(self.coef, index)[:, None].chunk(2, dim=2)  # (N, 1, F/2) each
        # Factors of cos_x and sin_x in coef·[cos(y + x); sin(y + x)].
        times_cos, times_sin = workspace.empty("amplitudes", (2, n, per_y, 1, 2, half), like=self.coef)
        torch.mul(of_cos, cos_y, out=times_cos[:, :, 0, 0])
        torch.mul(of_sin, sin_y, out=times_cos[:, :, 0, 1])
        torch.mul(-of_cos, sin_y, out=times_sin[:, :, 0, 0])
        torch.mul(of_sin, cos_y, out=times_sin[:, :, 0, 1])

        cos_x, sin_x = workspace.empty("phasor x", (2, n, 1, per_x, 1, half), like=self.coef)
        torch.cos(angle_x, out=cos_x[:, 0, :, 0])
        torch.sin(angle_x, out=sin_x[:, 0, :, 0])
        features = workspace.empty("features", (n, per_y, per_x, 2, half), like=self.coef)
        torch.mul(times_cos, cos_x, out=features).addcmul_(times_sin, sin_x)

        first = self.firsts[expert]
        return linear(features.flatten(3), first.weight, first.bias)  # (N, P, R, F) -> (N, P, R, hidden_dim)

    def _phase(self, index: Tensor) -> Tensor:
        """Return the phases of each query's sample, (N, F/2), or (1, F/2) if there is only one sample."""
        latents_per_sample = len(self.coef) // len(self.phase)
        return gather_rows(self.phase, index // latents_per_sample) if len(self.phase) > 1 else self.phase


class LTEEmbedding(Embedding):
    """LTE embedding: amplitudes and frequencies from the latent, phases from the cell (LTE, section 3).

    Args:
        latent_channels: width D of the latent.
        num_freq_features: width F of the embedding, with F/2 frequencies.
        max_trained_scale: the cell is clipped to the cell at this scale, as in the published code.
    """

    radius = 1
    precise_parts = ("freq", "phase")

    def __init__(
        self, *, latent_channels: int, num_freq_features: int = 256, max_trained_scale: float = 4.0
    ) -> None:
        super().__init__()
        self.in_features = num_freq_features
        self.max_trained_scale = max_trained_scale
        # As in the published code. `precompute` uses only the weights, on a latent that is already padded.
        self.coef = nn.Conv2d(latent_channels, num_freq_features, 3, padding=1)
        self.freq = nn.Conv2d(latent_channels, num_freq_features, 3, padding=1)
        self.phase = nn.Linear(2, num_freq_features // 2, bias=False)

    def precompute(
        self,
        latent: Tensor,
        rel_cell: Tensor,
        firsts: Sequence[nn.Linear],
        groups: Sequence[Tensor] | None = None,
    ) -> LTEPixelTerms:
        # All experts share amplitudes and frequencies, so groups do not matter.
        coef = F.conv2d(latent, self.coef.weight, self.coef.bias)  # (B, F, h, w)
        # The published layer outputs consecutive pairs (y, x).
        by_axis = torch.cat([self.freq.weight[0::2], self.freq.weight[1::2]])
        assert self.freq.bias is not None
        by_axis_bias = torch.cat([self.freq.bias[0::2], self.freq.bias[1::2]])
        with without_autocast(latent):
            freq = F.conv2d(latent.to(by_axis), by_axis, by_axis_bias)
            phase = self.phase(rel_cell.to(by_axis))
        coef, freq = (maps.permute(0, 2, 3, 1).flatten(0, 2) for maps in (coef, freq))  # (B*h*w, F)
        return LTEPixelTerms(coef, freq, phase, firsts)

    def rel_cell(self, size: tuple[int, int], latent_size: tuple[int, int]) -> tuple[float, float]:
        smallest = 2 / self.max_trained_scale
        return max(2 * latent_size[0] / size[0], smallest), max(2 * latent_size[1] / size[1], smallest)
