"""Run PCSR (3587jjh/PCSR) from a checkout, by its public interface, with the weights that it holds."""

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from benchmarking.checkouts import without_gpu
from benchmarking.published_code import load_published, queries

BACKBONES = ("fsrcnn", "carn", "srresnet")
_PIXELS = 300_000
"""Pixels at once, the default of its test program."""


class _Unused:
    """Stand-in for a class whose objects are made and not used."""

    def __init__(self, **options: Any) -> None:
        pass


_STUBS = {"fast_pytorch_kmeans": {"KMeans": _Unused}, "pandas": {}}
_PACKAGES = ("models", "utils", "datasets", "flops", "core")


class PublishedPCSR:
    """A network of PCSR of ×4 that chooses the more probable of two decoders for each pixel (k = 0).

    Args:
        folder: a checkout.
        backbone: one of `BACKBONES`.
        device: device of the network.

    Raises:
        ValueError: the folder lacks the program, the configuration or the weights.
    """

    def __init__(self, folder: Path, backbone: str, device: torch.device) -> None:
        name = f"{backbone}-pcsr-phase1"
        config, weights = folder / f"configs/{name}.yaml", folder / f"save/{name}/iter_last.pth"
        for path in (config, weights):
            if not path.is_file():
                raise ValueError(f"{path}: no such file; give a checkout of PCSR with its weights")
        norm = yaml.safe_load(config.read_text(encoding="utf-8"))["data_norm"]
        self._mean, self._std = (
            torch.tensor(norm[key], device=device).view(1, 3, 1, 1) for key in ("mean", "std")
        )
        self._model = load_published(folder, weights, packages=_PACKAGES, stubs=_STUBS).to(device).eval()
        self._device = device

    @torch.no_grad()
    def encode(self, lr: Tensor) -> Tensor:
        """Return the normalised input. The network encodes it together with decoding."""
        return (lr - self._mean) / self._std

    @torch.no_grad()
    def decode(self, normalised: Tensor, size: tuple[int, int]) -> Tensor:
        scale = size[0] / normalised.shape[2]
        # The costs of both decoders have no effect at k = 0. Counting them needs a GPU and more packages.
        self._model.cost_list[scale] = torch.ones(2, device=self._device)
        coord, cell = queries(size, self._device)
        with without_gpu(self._device):
            rgb, _ = self._model(normalised, coord, cell, scale=scale, k=0, pixel_batch_size=_PIXELS)
        return rgb.mT.unflatten(2, size) * self._std + self._mean


def backbones_of(folder: Path) -> list[str]:
    """Return the backbones whose weights lie in a checkout.

    Raises:
        ValueError: there is none.
    """
    found = [name for name in BACKBONES if (folder / f"save/{name}-pcsr-phase1/iter_last.pth").is_file()]
    if not found:
        raise ValueError(f"{folder}: holds no save/*-pcsr-phase1/iter_last.pth; give a checkout of PCSR")
    return found
