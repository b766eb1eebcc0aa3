"""Run LeRF by look-up tables (ddlee-cn/LeRF-PyTorch, MIT) from a checkout, with the tables that it holds."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarking.checkouts import importable

MODES = "sct"
"""Shapes of the neighbourhoods that index the tables, in the order of the published program."""
_WHITE = 255
_INTERVAL = 4
_SUPPORT, _MAX_SIGMA = 2, 10


class PublishedLeRF:
    """LeRF-G: tables sharpen the picture and yield Gaussian kernels, by which it is resampled.

    It computes on a CPU, with NumPy, as its `resample/eval_lut_sr.py` does.

    Args:
        folder: a checkout.

    Raises:
        ValueError: the folder lacks the program or the tables.
    """

    def __init__(self, folder: Path) -> None:
        with importable(folder, ("common", "resize_right", "resample"), {}):
            try:
                self._program: Any = importlib.import_module("resample.eval_lut_sr")
            except (ImportError, SyntaxError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise ValueError(f"{folder}: not a checkout of LeRF-PyTorch ({reason})") from error
        self._tables = {
            (stage, mode, turn): _table(folder / f"models/lerf-g/LUTft_s{stage}_{mode}r{turn}.npy", channels)
            for stage, turns, channels in ((1, (0,), 1), (2, (0, 1), 3))
            for mode in MODES
            for turn in turns
        }

    def encode(self, lr: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the sharpened picture (3, h, w) in [0, 255], and the kernels (9, h, w) in [0, 1]."""
        picture = np.rint(lr[0].permute(1, 2, 0).numpy() * _WHITE).astype(np.float32)
        sharpened = np.rint((self._looked_up(picture, 1, 1) / len(MODES)).clip(0, _WHITE))
        sharpened = sharpened.astype(np.float32)
        kernels = self._looked_up(sharpened.transpose(1, 2, 0), 2, 3) / (4 * len(MODES)) + _WHITE // 2
        return sharpened, np.rint(kernels.clip(0, _WHITE)).astype(np.float32) / _WHITE

    def decode(self, encoded: tuple[np.ndarray, np.ndarray], size: tuple[int, int]) -> Tensor:
        """Return the picture, rounded to 8 bits as published."""
        picture, kernels = encoded
        resizer = self._program.SteeringGaussianResize2dNumpy(support_sz=_SUPPORT, max_sigma=_MAX_SIGMA)
        factors = [n / m for n, m in zip(size, picture.shape[1:], strict=True)]
        resizer.set_shape(picture.shape, scale_factors=factors)
        enlarged = resizer.resize(picture, kernels[0::3], kernels[1::3], kernels[2::3])
        rounded = np.rint(enlarged).clip(0, _WHITE).astype(np.float32) / _WHITE
        return torch.from_numpy(rounded)[None]

    def _looked_up(self, picture: np.ndarray, stage: int, channels: int) -> np.ndarray:
        """Return the sum of the tables of a stage over neighbourhoods and turns of (h, w, 3)."""
        total = np.zeros(())
        for mode in MODES:
            margin = self._program.mode_pad_dict[mode]
            for turn in range(4):
                turned = np.rot90(picture, turn)
                padded = np.pad(turned, ((0, margin), (0, margin), (0, 0)), mode="edge").transpose(2, 0, 1)
                table = self._tables[stage, mode, turn % 2 if stage == 2 else 0]
                looked_up = self._program.FourSimplexInterpFaster(
                    table, padded, *turned.shape[:2], _INTERVAL, 4 - turn, upscale=1, mode=mode, oC=channels
                )
                total = total + looked_up
        return total


def _table(path: Path, channels: int) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a checkout of LeRF-PyTorch with its tables")
    return np.load(path).astype(np.float32).reshape(-1, channels)
