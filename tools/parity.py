"""Compare the pictures of this package with those of the published code, and bfloat16 with float32.

    python tools/parity.py --liif path/to/liif --lte path/to/lte -o docs/results/parity.json

The folders are checkouts of yinboc/liif and jaewon-lee-b/lte. Their decoders get the trained weights of
bundled networks: the deepest expert of the default network, and tiny_LTE. Both codes enlarge a photograph of
random size to a random size. The bfloat16 figures compare the default network with itself.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarking.cases import lr_picture
from benchmarking.number_formats import in_precision
from benchmarking.published_code import PublishedLIIF, PublishedLTE
from PIL import Image
from skimage import data

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_arch import LIIF
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.evaluation.machine import machine
from moeisr_plugin.utils.atomic import atomic_write

CPU = torch.device("cpu")
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--liif", type=Path, required=True, metavar="DIR", help="checkout of yinboc/liif")
    parser.add_argument("--lte", type=Path, required=True, metavar="DIR", help="checkout of jaewon-lee-b/lte")
    parser.add_argument("--cases", type=int, default=103, metavar="N", help="cases of each (default: 103)")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="FILE", help="JSON to write")
    args = parser.parse_args(argv)
    try:
        report = run(args.liif, args.lte, args.cases)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    with atomic_write(args.out) as file:
        file.write((json.dumps(report, indent=2) + "\n").encode())
    print(json.dumps(report, indent=2))
    return 0


def run(liif_folder: Path, lte_folder: Path, cases: int) -> dict[str, Any]:
    """Return the largest differences, with colours from 0 to 1 in float32 and from 0 to 255 in bfloat16."""
    mixture = network_from(DEFAULT).eval()
    liif = LIIF(encoder=mixture.encoder)
    liif.experts[0].load_state_dict(mixture.experts[-1].state_dict())
    lte = network_from("tiny_LTE").eval()
    largest = {
        "liif": largest_difference(
            liif.eval(), PublishedLIIF(liif_folder, liif.encoder, liif.experts[0], CPU), cases
        ),
        "lte": largest_difference(lte, PublishedLTE(lte_folder, lte, CPU), cases),
    }
    return {"machine": machine(CPU), "cases": 2 * cases, **largest, **bfloat16_differences(mixture)}


@torch.inference_mode()
def largest_difference(net: ImplicitNetwork, published: Any, cases: int) -> float:
    """Return the largest difference of a sample over random sizes and scales.

    Every tenth picture is large, because offsets from latents are less exact there.
    """
    random = np.random.default_rng(0)
    found = 0.0
    for number in range(cases):
        sides, scales = ((100, 201), (1, 1.3)) if number % 10 == 0 else ((4, 17), (1, 8))
        height, width = (int(n) for n in random.integers(*sides, 2))
        size = round(height * random.uniform(*scales)), round(width * random.uniform(*scales))
        lr = lr_picture((height, width))
        ours = render.render(net, render.encode(net, lr), size)
        theirs = published.decode(published.encode(lr), size)
        found = max(found, (ours - theirs).abs().max().item())
    return found


@torch.inference_mode()
def bfloat16_differences(net: ImplicitNetwork) -> dict[str, Any]:
    """Return the largest and the mean difference of a sample of 255, and the share of changed experts."""
    halved = in_precision(net, "bfloat16")
    differences, changed = [], []
    for name in PHOTOGRAPHS:
        lr = photograph(name)
        size = (4 * lr.shape[2], 4 * lr.shape[3])
        exact, rounded = render.encode(net, lr), render.encode(halved, lr)
        pictures = render.render(net, exact, size), render.render(halved, rounded, size).float()
        differences.append(255 * (pictures[0] - pictures[1]).abs().flatten())
        changed.append((render.expert_map(exact) != render.expert_map(rounded)).float().flatten())
    return {
        "bfloat16_pictures": list(PHOTOGRAPHS),
        "bfloat16_samples": torch.cat(differences).max().item(),
        "bfloat16_mean": torch.cat(differences).mean().item(),
        "bfloat16_changed_experts": torch.cat(changed).mean().item(),
    }


def photograph(name: str) -> torch.Tensor:
    """Return a photograph of scikit-image, reduced to a quarter, as (1, 3, h, w) in [0, 1]."""
    whole = Image.fromarray(getattr(data, name)())
    reduced = whole.resize((whole.width // 4, whole.height // 4), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(reduced, np.float32) / 255).permute(2, 0, 1)[None].contiguous()


if __name__ == "__main__":
    sys.exit(main())
