"""Expert maps: the expert of each LR pixel, as indices and as colours (paper, Fig. 1)."""

import torch
from torch import Tensor

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.implicit_sr import Encoding

# Yellow, green, blue, red from the shallowest to the deepest expert, as in Fig. 1 of the paper. The shades
# also differ in lightness for colour-blind readers.
_PALETTE = ((253, 231, 76), (91, 192, 110), (52, 101, 196), (190, 38, 51))


def expert_map(encoding: Encoding) -> Tensor:
    """Return the expert of each LR pixel, (B, h, w) in [0, J). Expert 0 is the shallowest."""
    return routing.choose_expert(encoding.scores)


def colour_experts(experts: Tensor, num_experts: int) -> Tensor:
    """Colour an expert map.

    Args:
        experts: (..., h, w) in [0, num_experts).
        num_experts: number J of experts. The palette is interpolated to J colours.

    Returns:
        (..., h, w, 3) RGB, uint8.
    """
    palette = torch.tensor(_PALETTE, dtype=torch.float32, device=experts.device)  # (4, 3)
    position = torch.linspace(0, len(palette) - 1, num_experts, device=experts.device)
    below = position.floor().long().clamp(max=len(palette) - 2)
    colours = torch.lerp(palette[below], palette[below + 1], (position - below)[:, None])  # (J, 3)
    return colours.round().to(torch.uint8)[experts]
