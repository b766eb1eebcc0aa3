"""Padding of images to multiples of a number of pixels."""

import torch
from torch import Tensor


def pad_to_multiple(image: Tensor, number: int) -> Tensor:
    """Pad an image below and to the right by reflection, to sides that are multiples of a number.

    The result equals that of `F.pad` where `F.pad` accepts the image. `F.pad` refuses images smaller than
    the padding; here the reflection is repeated, and a single row or column is copied.

    Args:
        image: (B, C, h, w), h, w >= 1.
        number: the number, in pixels.

    Returns:
        (B, C, h', w'), the next multiples.
    """
    for dim in (-2, -1):
        size = image.shape[dim]
        padded = -(-size // number) * number
        if padded != size:
            period = max(2 * size - 2, 1)
            index = torch.arange(padded, device=image.device) % period
            image = image.index_select(dim, torch.minimum(index, period - index))
    return image


def pad_as_published(image: Tensor, number: int) -> Tensor:
    """Pad an image as the test of the published SwinIR and of LTE: by 1 to `number` pixels, edge included.

    The image is mirrored below and to the right, so that its last row and column come twice. Sides that are
    multiples already grow by `number`. Where the mirror image is too small, it is mirrored again; the
    published code fails there.

    Args:
        image: (B, C, h, w), h, w >= 1.
        number: the number, in pixels.

    Returns:
        (B, C, h', w'), the next larger multiples.
    """
    for dim in (-2, -1):
        size = image.shape[dim]
        index = torch.arange((size // number + 1) * number, device=image.device) % (2 * size)
        image = image.index_select(dim, torch.minimum(index, 2 * size - 1 - index))
    return image
