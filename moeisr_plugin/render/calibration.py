"""Synthetic pictures that resemble photographs, to find the ranges of activations."""

import torch
from torch import Tensor

_SIDE = 64
_PICTURES = 3
_DISCS = 400
_SMALLEST_RADIUS = 0.6  # in pixels
_LARGEST_RADIUS = 24.0
_SEED = 0


def synthetic_pictures() -> Tensor:
    """Return pictures (B, 3, h, w) in [0, 1], the same at each call.

    They are discs of random colours that cover each other, with radii whose density falls with the cube.
    Such pictures have edges and spectra at all scales as photographs have (Lee et al., Occlusion models for
    natural images, 2001). The last picture has noise of single pixels in addition.
    """
    generator = torch.Generator().manual_seed(_SEED)
    pictures = torch.stack([_discs(generator) for _ in range(_PICTURES)])
    pictures[-1] = 0.5 * (pictures[-1] + torch.rand(pictures[-1].shape, generator=generator))
    return pictures


def _discs(generator: torch.Generator) -> Tensor:
    """Return a picture (3, h, w)."""
    share = torch.rand(_DISCS, generator=generator)
    least, most = _SMALLEST_RADIUS**-2, _LARGEST_RADIUS**-2
    radius = (least + share * (most - least)) ** -0.5  # (n,)
    centre = torch.rand(_DISCS, 2, generator=generator) * _SIDE
    colour = torch.rand(_DISCS, 3, generator=generator).mul(1.5).sub(0.25).clamp(0, 1)
    pixel = torch.arange(_SIDE) + 0.5
    distance = torch.hypot(
        pixel[:, None] - centre[:, 0, None, None], pixel - centre[:, 1, None, None]
    )  # (n, h, w)
    cover = (radius[:, None, None] - distance + 0.5).clamp(0, 1)  # (n, h, w), antialiased
    picture = torch.full((3, _SIDE, _SIDE), 0.5)
    for i in radius.argsort(descending=True).tolist():
        picture = torch.lerp(picture, colour[i, :, None, None].expand_as(picture), cover[i])
    return picture
