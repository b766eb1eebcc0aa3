"""First layers of exported experts, folded into terms of LR pixels and terms of output rows and columns."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs.embeddings import LIIFEmbedding, LTEEmbedding
from moeisr_plugin.archs.experts import Expert


class LIIFFirstLayers(nn.Module):
    """First layers on the LIIF embedding. See :class:`.LIIFEmbedding` for the terms."""

    def __init__(self, embedding: LIIFEmbedding, experts: list[Expert]) -> None:
        super().__init__()
        self.radius = embedding.radius
        side = 2 * self.radius + 1
        splits = [embedding.latent_columns, 2, embedding.cell_columns]
        of_latent, of_rel, of_cell = zip(*(e.first.weight.split(splits, dim=1) for e in experts), strict=True)
        # From the order of unfold, (D, side²), to the order of gathered latents, (side², D).
        by_place = [w.unflatten(1, (-1, side**2)).transpose(1, 2).flatten(1).contiguous() for w in of_latent]
        self.of_latent = nn.ParameterList(w.detach() for w in by_place)  # (C, side²*D) each
        self.of_rel = nn.ParameterList(w.detach().t().contiguous() for w in of_rel)  # (2, C) each
        self.of_cell = nn.ParameterList(w.detach().float().contiguous() for w in of_cell)  # (C, 0 or 2) each
        self.bias = nn.ParameterList(e.first.bias.detach() for e in experts)  # (C,) each

    def prepare(self, latent: Tensor, rel_cell: Tensor) -> tuple[Tensor, ...]:
        """Return what the experts share: latents by LR pixel with a rim of zeros, and the cell."""
        padded = F.pad(latent, [self.radius] * 4) if self.radius else latent
        return padded[0].permute(1, 2, 0).flatten(0, 1), rel_cell

    def forward(
        self,
        j: int,
        shared: tuple[Tensor, ...],
        row: Tensor,
        column: Tensor,
        width: int,
        rel_y: Tensor,
        rel_x: Tensor,
    ) -> Tensor:
        """Evaluate a first layer before its ReLU.

        Args:
            j: the expert.
            shared: result of :meth:`prepare`.
            row, column: (N,) each, its LR pixels.
            width: number w of columns of LR pixels.
            rel_y: (N, P), output rows around each.
            rel_x: (N, R), output columns around each.

        Returns:
            (N, P, R, C).
        """
        latents, rel_cell = shared
        side = 2 * self.radius + 1
        padded_width = width + 2 * self.radius
        step = torch.arange(side, device=row.device)
        offset = (step[:, None] * padded_width + step).flatten()  # (side²,)
        corner = row * padded_width + column  # (N,)
        near = (corner[:, None] + offset).flatten()  # (N*side²,)
        found = latents.index_select(0, near).reshape(row.shape[0], side**2 * latents.shape[1])
        constant = self.bias[j]
        if self.of_cell[j].shape[1]:
            constant = (self.bias[j].float() + self.of_cell[j] @ rel_cell).to(constant)
        of_pixels = F.linear(found, self.of_latent[j], constant)  # (N, C)
        column_y, column_x = self.of_rel[j][0], self.of_rel[j][1]  # (C,) each
        rows = of_pixels[:, None] + rel_y[..., None].to(of_pixels) * column_y  # (N, P, C)
        columns = rel_x[..., None].to(of_pixels) * column_x  # (N, R, C)
        return rows[:, :, None] + columns[:, None]


class LTEFirstLayers(nn.Module):
    """First layers on the LTE embedding. See :class:`.LTEPixelTerms` for the phasors."""

    def __init__(self, embedding: LTEEmbedding, experts: list[Expert]) -> None:
        super().__init__()
        weight, bias = embedding.freq.weight.detach().float(), embedding.freq.bias
        assert bias is not None
        # The published layer outputs consecutive pairs (y, x); here all y come first.
        self.freq_weight = nn.Parameter(torch.cat([weight[0::2], weight[1::2]]))
        self.freq_bias = nn.Parameter(torch.cat([bias.detach().float()[0::2], bias.detach().float()[1::2]]))
        self.coef = embedding.coef
        self.phase = nn.Parameter(embedding.phase.weight.detach().float())  # (F/2, 2)
        self.largest_scale = embedding.max_trained_scale
        self.firsts = nn.ModuleList(expert.first for expert in experts)

    def prepare(self, latent: Tensor, rel_cell: Tensor) -> tuple[Tensor, ...]:
        """Return amplitudes and frequencies by LR pixel, (h*w, F) each, and the phases (F/2,)."""
        freq = F.conv2d(latent.float(), self.freq_weight, self.freq_bias, padding=1)
        by_pixel = [each[0].permute(1, 2, 0).flatten(0, 1) for each in (self.coef(latent), freq)]
        return by_pixel[0], by_pixel[1], self.phase @ rel_cell.clamp(min=2 / self.largest_scale)

    def forward(
        self,
        j: int,
        shared: tuple[Tensor, ...],
        row: Tensor,
        column: Tensor,
        width: int,
        rel_y: Tensor,
        rel_x: Tensor,
    ) -> Tensor:
        """Evaluate a first layer. See :meth:`LIIFFirstLayers.forward`."""
        coef, freq, phase = shared
        half, pixels = phase.shape[0], row * width + column  # (N,)
        freq_y, freq_x = freq.index_select(0, pixels)[:, None].split(half, dim=2)  # (N, 1, F/2) each
        of_cos, of_sin = coef.index_select(0, pixels)[:, None].split(half, dim=2)  # (N, 1, F/2) each
        angle_y = (rel_y[..., None] * freq_y + phase) * math.pi  # (N, P, F/2)
        angle_x = rel_x[..., None] * freq_x * math.pi  # (N, R, F/2)
        cos_y, sin_y, cos_x, sin_x = (
            each.to(coef) for each in (angle_y.cos(), angle_y.sin(), angle_x.cos(), angle_x.sin())
        )
        # Factors of cos_x and sin_x in coef·[cos(y + x); sin(y + x)], (N, P, 1, F) each.
        times_cos = torch.cat([of_cos * cos_y, of_sin * sin_y], dim=2)[:, :, None]
        times_sin = torch.cat([-of_cos * sin_y, of_sin * cos_y], dim=2)[:, :, None]
        twice_cos, twice_sin = (torch.cat([x, x], dim=2)[:, None] for x in (cos_x, sin_x))  # (N, 1, R, F)
        features = times_cos * twice_cos + times_sin * twice_sin  # (N, P, R, F)
        n, rows, columns, width_of_features = features.shape
        hidden = self.firsts[j](features.reshape(n * rows * columns, width_of_features))
        return hidden.reshape(n, rows, columns, hidden.shape[1])
