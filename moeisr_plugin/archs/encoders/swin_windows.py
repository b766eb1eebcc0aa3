"""Make the toolbox's SwinIR accept images of any size: padding to whole windows, and attention masks."""

import torch
from basicsr.archs.swinir_arch import SwinIR, SwinTransformerBlock
from torch import Tensor


def pad_to_windows(image: Tensor, window_size: int) -> Tensor:
    """Pad an image below and to the right by reflection, up to whole windows.

    The result equals that of `F.pad` where `F.pad` accepts the image. `F.pad` refuses images smaller than
    the padding; here the reflection is repeated, and a single row or column is copied.

    Args:
        image: (B, C, h, w), h, w >= 1.
        window_size: Side of a window, in pixels.

    Returns:
        (B, C, h', w'), the next multiples of the window size.
    """
    for dim in (-2, -1):
        size = image.shape[dim]
        padded = -(-size // window_size) * window_size
        if padded != size:
            period = max(2 * size - 2, 1)
            index = torch.arange(padded, device=image.device) % period
            image = image.index_select(dim, torch.minimum(index, period - index))
    return image


class AnySizeBlock(SwinTransformerBlock):
    """The toolbox's block, with attention masks on the device and in the precision of its weights.

    At every size other than that of training, the toolbox computes each mask on the CPU in float32. This
    stalls a GPU, and fails with weights in half precision. For an unshifted block the toolbox also computes
    zeros for every window; here the zeros of one window are broadcast.
    """

    def calculate_mask(self, x_size: tuple[int, int]) -> Tensor:
        weight = self.norm1.weight
        if self.shift_size == 0:
            area = self.window_size**2
            return weight.new_zeros(1, area, area)
        with torch.device(weight.device):
            return super().calculate_mask(x_size).to(weight.dtype)


def take_any_size(net: SwinIR) -> None:
    """Turn the blocks of a toolbox SwinIR into `AnySizeBlock`s; keep parameters and buffers."""
    for module in net.modules():
        if type(module) is SwinTransformerBlock:
            # The class of the blocks is fixed inside the toolbox's layers; it is no argument.
            module.__class__ = AnySizeBlock


def window_size_of(net: SwinIR) -> int:
    """Return the side of the attention windows of a SwinIR; only its blocks hold it."""
    return next(module.window_size for module in net.modules() if isinstance(module, SwinTransformerBlock))
