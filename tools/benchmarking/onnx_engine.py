"""Run exported networks by ONNX Runtime, with the program of docs/export.md."""

import contextlib
import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moeisr_plugin import cli

PAGE = Path(__file__).parents[2] / "docs/export.md"


class OnnxNetwork:
    """A network in ONNX Runtime. Its output is rounded to 8 bits, as that of the program.

    Args:
        weights: a checkpoint, or the name of a bundled network.
        threads: number of threads.

    Raises:
        ValueError: ONNX Runtime is not installed, or the network cannot be exported.
    """

    def __init__(self, weights: str, threads: int) -> None:
        try:
            import onnxruntime  # optional
        except ImportError:
            raise ValueError('ONNX Runtime is not installed; pip install ".[onnx]"') from None
        self._functions = _program()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            if cli.main(["export", weights, "-o", f"{folder}/exported"]) != 0:
                raise ValueError(f"{weights}: cannot be exported")
            self._encoder, self._decoder = (
                onnxruntime.InferenceSession(f"{folder}/exported/{part}.onnx", options)
                for part in ("encoder", "decoder")
            )

    def encode(self, lr: Tensor) -> tuple[np.ndarray, Any]:
        """Return the picture (1, 3, h, w) and what the encoder yields for it."""
        array = lr.numpy()
        return array, self._functions["encode"](self._encoder, array)

    def decode(self, encoded: tuple[np.ndarray, Any], size: tuple[int, int]) -> Tensor:
        """Return the picture (1, 3, H, W) in [0, 1]."""
        array, (latent, scores) = encoded
        bands = self._functions["bands"](self._decoder, array, latent, scores, size)
        return torch.from_numpy(np.concatenate(list(bands))).permute(2, 0, 1)[None] / 255


def _program() -> dict[str, Callable[..., Any]]:
    """Return the functions of the program on the page."""
    found = re.search(r"```python\n(.*?)\nencoder, decoder = ", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise ValueError(f"{PAGE}: has no program")
    names: dict[str, Any] = {}
    exec(compile(found[1], str(PAGE), "exec"), names)
    return names
