"""The embedding of LIIF: unfolded latent, relative coordinate and cell."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs.embeddings.interface import Embedding
from moeisr_plugin.ops.limits import limit_for
from moeisr_plugin.ops.linear import linear
from moeisr_plugin.ops.precision import without_autocast
from moeisr_plugin.ops.rows import gather_rows
from moeisr_plugin.ops.workspace import Workspace

# LR pixels whose neighbourhoods are gathered in one step. Limits memory; on a CPU the result fits its cache.
_GATHERED_PIXELS = {"cpu": 4096, "cuda": 65_536}


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


class Neighbourhoods:
    """Gathers the neighbourhoods of latents.

    Args:
        latent: (B, D, h + 2 * radius, w + 2 * radius), padded, of any type.
        radius: radius of a neighbourhood.
    """

    def __init__(self, latent: Tensor, radius: int) -> None:
        side = 2 * radius + 1
        batch, channels, height, width = latent.shape
        self._pixels = latent.permute(0, 2, 3, 1).reshape(-1, channels)  # (B*(h+2r)*(w+2r), D)
        row = torch.arange(len(self._pixels), device=latent.device).view(batch, height, width)
        # The first latent of each neighbourhood, (B*h*w,), and the others relative to it, (side*side,).
        self._corner = row[:, : height - side + 1, : width - side + 1].flatten()
        self._offset = row[0, :side, :side].flatten()

    def __call__(self, index: Tensor) -> Tensor:
        """Return the neighbourhoods of LR pixels (N,) in [0, B*h*w), (N, side*side*D), pixel by pixel."""
        neighbours = self._corner[index, None] + self._offset  # (N, side*side)
        rows = gather_rows(self._pixels, neighbours.flatten())  # (N*side*side, D)
        return rows.view(len(index), len(self._offset) * rows.shape[1])


def in_gathered_order(weight: Tensor, positions: int) -> Tensor:
    """Reorder columns (n, D*positions) of an unfolded latent as gathered, (n, positions*D)."""
    return weight.unflatten(1, (-1, positions)).transpose(1, 2).flatten(1)


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
        batch = len(latent)
        height, width = (n - 2 * self.radius for n in latent.shape[2:])
        gather = Neighbourhoods(latent, self.radius)
        sample = torch.arange(batch, device=latent.device).repeat_interleave(height * width)  # (B*h*w,)

        table = latent.new_empty(len(sample), len(columns[0]))
        at_a_time = limit_for(_GATHERED_PIXELS, latent)
        for weight, constant, group in zip(columns, constants, groups, strict=True):
            weight = in_gathered_order(weight, side * side)
            for rows in group.split(at_a_time):
                table[rows] = linear(gather(rows), weight).to(table) + gather_rows(constant, sample[rows])
        return table

    def rel_cell(self, size: tuple[float, float], latent_size: tuple[int, int]) -> tuple[float, float]:
        return 2 * latent_size[0] / size[0], 2 * latent_size[1] / size[1]
