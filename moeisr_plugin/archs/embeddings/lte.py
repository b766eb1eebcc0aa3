"""The embedding of LTE: local Fourier features."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs.embeddings.interface import Embedding
from moeisr_plugin.ops.linear import linear
from moeisr_plugin.ops.precision import without_autocast
from moeisr_plugin.ops.rows import gather_rows
from moeisr_plugin.ops.workspace import Workspace


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

    def rel_cell(self, size: tuple[float, float], latent_size: tuple[int, int]) -> tuple[float, float]:
        smallest = 2 / self.max_trained_scale
        return max(2 * latent_size[0] / size[0], smallest), max(2 * latent_size[1] / size[1], smallest)
