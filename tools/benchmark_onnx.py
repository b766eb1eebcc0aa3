"""Time the program of docs/export.md beside this package, on one thread of a CPU.

    python tools/benchmark_onnx.py tiny_LIIF MoEISR_LIIF_s

Each network enlarges a photograph of 256x256 four times, alternately by both. Times are those of the CPU, so
that other programs disturb them little.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from benchmarking.onnx_engine import OnnxNetwork
from skimage import data

from moeisr_plugin import render
from moeisr_plugin.checkpoints.network import network_from

SIDE, SCALE = 256, 4


def seconds_of(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(name: str, repeats: int) -> str:
    """Return a line on one network."""
    net, exported = network_from(name), OnnxNetwork(name, threads=1)
    pixels = data.astronaut()[:SIDE, 100 : 100 + SIDE]
    lr = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    size = (SIDE * SCALE, SIDE * SCALE)

    def by_runtime() -> torch.Tensor:
        return exported.decode(exported.encode(lr), size)

    def by_package() -> torch.Tensor:
        return render.render(net, render.encode(net, lr), size).clamp(0, 1).mul(255).round() / 255

    off = round(255 * (by_runtime() - by_package()).abs().max().item())
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
