"""What the toolbox's SwinIR needs in order to take images of any size: whole windows, and their masks."""

import torch
from basicsr.archs.swinir_arch import SwinIR, SwinTransformerBlock
from torch import Tensor


def pad_to_windows(image: Tensor, window_size: int) -> Tensor:
    """Pads an image below and to the right by reflection, up to whole windows.

    Where `F.pad` can reflect, the result is the same; on images smaller than the padding, which it
    refuses, the reflection goes back and forth, and a single row or column is repeated.

    Args:
        image: (B, C, h, w), h, w >= 1.
        window_size: Side of a window in pixels.

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
    """The toolbox's block, with masks made on the device and in the precision of its weights.

    At every size but that of training the toolbox makes each mask anew on the CPU, in float32: a GPU waits
    for it, and weights in half precision fail on it. It also makes one of zeros for all windows of an
    unshifted block, where a single window's, broadcast, does.
    """

    def calculate_mask(self, x_size: tuple[int, int]) -> Tensor:
        weight = self.norm1.weight
        if self.shift_size == 0:
            area = self.window_size**2
            return weight.new_zeros(1, area, area)
        with torch.device(weight.device):
            return super().calculate_mask(x_size).to(weight.dtype)


def take_any_size(net: SwinIR) -> None:
    """Turns the blocks of a toolbox SwinIR into `AnySizeBlock`s; parameters and buffers stay as they are."""
    for module in net.modules():
        if type(module) is SwinTransformerBlock:
            # The toolbox names the block's class inside its layers, so it cannot be passed in.
            module.__class__ = AnySizeBlock


def window_size_of(net: SwinIR) -> int:
    """Gives the side of a SwinIR's attention windows, which the toolbox keeps in its blocks alone."""
    return next(module.window_size for module in net.modules() if isinstance(module, SwinTransformerBlock))
