"""Expert maps: the expert of each LR pixel, as indices and as colours (paper, Fig. 1)."""

import torch
from torch import Tensor

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.implicit_sr import Encoding
from moeisr_plugin.render.window import Window

# Yellow, green, blue, red from the shallowest to the deepest expert, as in Fig. 1 of the paper. The shades
# also differ in lightness for colour-blind readers.
_PALETTE = ((253, 231, 76), (91, 192, 110), (52, 101, 196), (190, 38, 51))


def expert_map(encoding: Encoding, window: Window | None = None) -> Tensor:
    """Return the expert of each LR pixel, (B, h, w) in [0, J). Expert 0 is the shallowest.

    Args:
        encoding: encoding of B images.
        window: the map has only the LR pixels that it touches, also in part. Defaults to the whole image.
    """
    if window is None:
        return routing.choose_expert(encoding.scores)
    rows, columns = window.area(encoding.scores.shape[2:])
    return routing.choose_expert(encoding.scores[:, :, rows, columns])


def expert_shares(encoding: Encoding, window: Window | None = None) -> Tensor:
    """Return the share of each expert in the area of a window, by default of the whole image.

    Args:
        encoding: encoding of one image.
        window: LR pixels that it touches in part count in part.

    Returns:
        (J,), sums to 1.
    """
    num_experts, *lr_size = encoding.scores.shape[1:]
    window = window or Window(0, 0, *lr_size)
    rows, columns = window.area(lr_size)
    covered_rows = _covered(rows, window.top, window.bottom)
    covered_columns = _covered(columns, window.left, window.right)
    area = torch.outer(covered_rows, covered_columns).flatten().to(encoding.scores.device)
    of_experts = area.new_zeros(num_experts).index_add_(0, expert_map(encoding, window).flatten(), area)
    return of_experts / area.sum()


def _covered(pixels: slice, start: float, stop: float) -> Tensor:
    """Return how much of each LR pixel of an axis lies between two places, (N,), from 0 to 1."""
    edges = torch.arange(pixels.start, pixels.stop + 1, dtype=torch.float64, device="cpu").clamp(start, stop)
    return edges.diff()


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
