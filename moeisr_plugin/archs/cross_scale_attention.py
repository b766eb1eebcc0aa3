"""Cross-scale non-local attention (Mei et al., CVPR 2020, section 3.2), as CiaoSR uses it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs.encoders.padding import pad_to_multiple

# Factor of the correlations before the softmax, and divisor of the sums of overlapping patches. Both are
# constants of the published networks.
_SHARPNESS = 10.0
_OVERLAP = 6.0
_SMALLEST_NORM = 1e-4
# Values of the attention and of its patches that are held at a time.
_HELD = 2**26


class CrossScaleAttention(nn.Module):
    """For each LR pixel, the patches of the image at a larger scale that resemble it at the smaller one.

    A 3x3 patch around each pixel is compared with all 3x3 patches of the image reduced by s. The patches of
    3s x 3s pixels behind them are averaged by their resemblance. The image of these overlapping patches, s
    times as large, is reduced by a convolution.

    Args:
        channels: width D of the latent.
        scales: the factors s, each at least 2.
    """

    def __init__(self, *, channels: int, scales: Sequence[int]) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.match = nn.Sequential(nn.Conv2d(channels, channels // 2, 1), nn.PReLU())
        self.match_reduced = nn.Sequential(nn.Conv2d(channels, channels // 2, 1), nn.PReLU())
        self.value = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.PReLU())
        self.reduce = nn.ModuleList(nn.Conv2d(channels, channels, 3, stride=s, padding=1) for s in scales)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the non-local features of a latent (B, D, h, w), (B, D * number of scales, h, w)."""
        height, width = latent.shape[2:]
        found = [
            self._at_scale(latent, s, reduce) for s, reduce in zip(self.scales, self.reduce, strict=True)
        ]
        return torch.cat([each[:, :, :height, :width] for each in found], dim=1)

    def _at_scale(self, latent: Tensor, scale: int, reduce: nn.Module) -> Tensor:
        padded = pad_to_multiple(latent, scale)  # (B, D, H, W)
        height, width = padded.shape[2:]
        reduced_size = [height // scale, width // scale]
        reduced = F.interpolate(padded, reduced_size, mode="bilinear", align_corners=False)
        queries = F.unfold(self.match(padded), 3, padding=1).mT.unflatten(1, (height, width))  # (B, H, W, C)
        keys = F.unfold(self.match_reduced(reduced), 3, padding=1)  # (B, C, L)
        keys = _SHARPNESS * keys / keys.norm(dim=1, keepdim=True).clamp_min(_SMALLEST_NORM)
        patch = 3 * scale
        values = F.unfold(self.value(padded), patch, padding=scale, stride=scale).mT  # (B, L, D * patch²)
        canvas_size = (height + 2) * scale, (width + 2) * scale
        canvas = values.new_zeros(*padded.shape[:2], *canvas_size)  # with a rim of one step on each side
        rows_at_a_time = max(1, _HELD // (len(latent) * width * sum(values.shape[1:])))
        for start in range(0, height, rows_at_a_time):
            some = queries[:, start : start + rows_at_a_time]  # (B, N, W, C)
            rows = some.shape[1]
            attention = (some.flatten(1, 2) @ keys).softmax(-1)  # (B, N*W, L)
            strip_size = (rows + 2) * scale, canvas_size[1]
            strip = F.fold((attention @ values).mT, strip_size, patch, stride=scale)
            first = start * scale
            canvas[:, :, first : first + strip_size[0]] += strip
        return reduce(canvas[:, :, scale:-scale, scale:-scale]) / _OVERLAP
