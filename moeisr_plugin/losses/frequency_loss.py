"""Loss of the spectrum of pictures."""

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from moeisr_plugin.ops.precision import at_least_float32


@LOSS_REGISTRY.register()
class FrequencyLoss(nn.Module):
    """L1 distance of the Fourier transforms of two pictures (as in MIMO-UNet, Cho et al., ICCV 2021).

    The transform is orthonormal, so that the mean does not depend on the size of the pictures. It gives the
    half of the spectrum that determines real pictures.

    Args:
        loss_weight: factor of the loss.
        reduction: mean or sum over real and imaginary parts of all frequencies.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean"):
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ValueError(f"FrequencyLoss: reduction is {reduction!r}; give mean or sum")
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of pictures (B, C, H, W), in float32 or better."""
        difference = at_least_float32(prediction) - at_least_float32(target)
        spectrum = torch.view_as_real(torch.fft.rfft2(difference, norm="ortho"))  # (B, C, H, W//2+1, 2)
        distance = spectrum.abs()
        return self.loss_weight * (distance.mean() if self.reduction == "mean" else distance.sum())
