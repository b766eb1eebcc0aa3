"""SwinIR without its upsampling (Liang et al., arXiv 2108.10257)."""

from collections.abc import Sequence
from typing import Literal

from basicsr.archs.swinir_arch import SwinIR
from torch import Tensor

from moeisr_plugin.archs.encoders import swin_windows
from moeisr_plugin.archs.encoders.padding import pad_as_published, pad_to_multiple
from moeisr_plugin.archs.registry import register


@register
class SwinIREncoder(SwinIR):
    """SwinIR as in LTE; parameters and buffers have the names of the published LTE weights.

    It is the toolbox's SwinIR up to the convolution before the upsampling, which maps `embed_dim` channels to
    64. The input is centred already, so no mean is subtracted. Images are padded to whole windows.

    Args:
        embed_dim: Width of the transformer; a multiple of each of `num_heads`.
        depths: Transformer blocks of each residual group.
        num_heads: Attention heads of each residual group.
        window_size: Side of an attention window, in pixels.
        mlp_ratio: Hidden width of the MLP of a block, divided by `embed_dim`.
        drop_path_rate: Largest probability that training skips a block (stochastic depth).
        resi_connection: '1conv' or '3conv', the convolutions that end a residual group.
        padding: 'minimal' pads by reflection to the next multiple of the window. 'published' pads in
            evaluation as the published test of LTE, by a whole window where the size is a multiple already.
            That test also decodes the padding, which changes the last one and a half LR rows and columns;
            docs/fine_tune.md has the lines that equal it.

    Raises:
        ValueError: If `depths` and `num_heads` differ in length, a number of heads does not divide
            `embed_dim`, or `resi_connection` or `padding` is neither.
    """

    latent_channels = 64  # fixed by the toolbox's SwinIR
    halo = None  # shifted windows pass information on across the whole image

    def __init__(
        self,
        *,
        embed_dim: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        drop_path_rate: float = 0.1,
        resi_connection: str = "1conv",
        padding: Literal["minimal", "published"] = "minimal",
    ) -> None:
        if len(depths) != len(num_heads):
            raise ValueError(
                f"SwinIREncoder: depths {list(depths)} and num_heads {list(num_heads)} differ in length"
            )
        if any(embed_dim % heads for heads in num_heads):
            raise ValueError(
                f"SwinIREncoder: num_heads {list(num_heads)} must each divide embed_dim {embed_dim}"
            )
        if resi_connection not in ("1conv", "3conv"):
            raise ValueError(f"SwinIREncoder: resi_connection is '1conv' or '3conv', not {resi_connection!r}")
        if padding not in ("minimal", "published"):
            raise ValueError(f"SwinIREncoder: padding is 'minimal' or 'published', not {padding!r}")
        super().__init__(
            img_size=6 * window_size,  # 48 with the published window: the mask buffers then have its shape
            embed_dim=embed_dim,
            depths=depths,
            num_heads=num_heads,
            window_size=window_size,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate,
            resi_connection=resi_connection,
            upsampler="pixelshuffle",  # the variant with conv_before_upsample
        )
        del self.upsample, self.conv_last
        self.window_size = self.tile_grid = window_size
        self.padding = padding
        swin_windows.take_any_size(self)

    def forward(self, lr: Tensor) -> Tensor:
        """Encode `lr` (B, 3, h, w), RGB in [-1, 1], into a latent (B, 64, h, w)."""
        h, w = lr.shape[-2:]
        as_published = self.padding == "published" and not self.training
        pad = pad_as_published if as_published else pad_to_multiple
        shallow = self.conv_first(pad(lr, self.window_size))
        deep = self.conv_after_body(self.forward_features(shallow))
        return self.conv_before_upsample(shallow + deep)[:, :, :h, :w]
