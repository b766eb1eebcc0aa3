"""Make the toolbox's SwinIR accept images of any size: attention masks."""

import torch
from basicsr.archs.swinir_arch import SwinIR, SwinTransformerBlock
from torch import Tensor


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
