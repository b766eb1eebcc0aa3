"""Time the program of docs/export.md beside this package, on one thread of a CPU.

    python tools/benchmark_onnx.py tiny_LIIF MoEISR_LIIF_s

Each network enlarges a photograph of 256x256 four times, alternately by both. Times are those of the CPU, so
that other programs disturb them little.
"""

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from skimage import data

from moeisr_plugin import cli, render
from moeisr_plugin.checkpoints.network import network_from

PAGE = Path(__file__).parents[1] / "docs/export.md"
SIDE, SCALE = 256, 4


def program() -> dict[str, Any]:
    """Return the functions of the program on the page."""
    found = re.search(r"```python\n(.*?)\nencoder, decoder = ", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise ValueError(f"{PAGE}: has no program")
    names: dict[str, Any] = {}
    exec(compile(found[1], str(PAGE), "exec"), names)
    return names


def seconds_of(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(name: str, repeats: int) -> str:
    """Return a line on one network."""
    functions, net = program(), network_from(name)
    pixels = data.astronaut()[:SIDE, 100 : 100 + SIDE]
    lr = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    array, size = lr.numpy(), (SIDE * SCALE, SIDE * SCALE)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        cli.main(["export", name, "-o", f"{folder}/exported"])
        encoder, decoder = (
            onnxruntime.InferenceSession(f"{folder}/exported/{part}.onnx", options)
            for part in ("encoder", "decoder")
        )

    def by_runtime() -> np.ndarray:
        encoded = functions["encode"](encoder, array)
        return np.concatenate(list(functions["bands"](decoder, array, *encoded, size)))

    def by_package() -> np.ndarray:
        rgb = render.render(net, render.encode(net, lr), size)[0]
        return rgb.permute(1, 2, 0).clamp(0, 1).mul(255).round().byte().numpy()

    off = np.abs(by_runtime().astype(int) - by_package()).max()
    times = [(seconds_of(by_runtime), seconds_of(by_package)) for _ in range(repeats)]
    runtime, package = (statistics.median(each) for each in zip(*times, strict=True))
    return (
        f"{name}: ONNX Runtime {runtime:.2f} s, package {package:.2f} s, ratio {runtime / package:.2f}, "
        f"largest difference {off} of 255"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", help="checkpoints, or names of bundled networks")
    parser.add_argument("--repeats", type=int, default=3, help="number of runs (default: %(default)s)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    for name in args.networks:
        print(measure(name, args.repeats), flush=True)


if __name__ == "__main__":
    main()
