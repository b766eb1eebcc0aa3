"""Interpolate between the weights of a network and those of a training that started from it.

    python tools/interpolate.py MoEISR_LIIF_s photo/models/net_g_latest.pth --share 0.5 -o mixed.pth

Fine-tuned networks gain on new pictures and lose on those that the original was good at. A network between
both keeps most of the gain and most of the quality (Wortsman et al., Robust Fine-Tuning of Zero-Shot Models,
CVPR 2022). It costs no training. The output keeps the origin of the second network and adds the first.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moeisr_plugin.checkpoints.network import default_entry, located, read_checkpoint, save_checkpoint
from moeisr_plugin.checkpoints.provenance import PUBLISHED, STARTED, starting_point


def main(argv: Sequence[str] | None = None) -> int:
    """Write the interpolated weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("original", type=Path, help="weights, or the name of a bundled network")
    parser.add_argument("tuned", type=Path, help="weights of a network of the same structure")
    parser.add_argument("--share", type=float, required=True, help="share of the second network, 0 to 1")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="OUT", help="file to write")
    args = parser.parse_args(argv)
    try:
        if not 0 <= args.share <= 1:
            raise ValueError(f"--share: is {args.share}; give a number from 0 to 1")
        if args.out.exists():
            raise ValueError(f"{args.out}: already exists; choose another -o")
        save_checkpoint(args.out, interpolated(located(args.original), located(args.tuned), args.share))
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    return 0


def interpolated(original: Path, tuned: Path, share: float) -> dict[str, Any]:
    """Return a checkpoint between two others.

    Args:
        original: weights, of which the averaged ones count if there are some.
        tuned: weights of a network of the same structure.
        share: share of `tuned`, from 0 to 1.

    Raises:
        ValueError: the networks differ in structure.
    """
    first, second = read_checkpoint(original), read_checkpoint(tuned)
    if first["network_g"] != second["network_g"]:
        raise ValueError(f"{original} and {tuned}: are networks of different structure; give related ones")
    ours, theirs = _weights(first, original), _weights(second, tuned)
    mixed = {key: torch.lerp(ours[key].float(), theirs[key].float(), share) for key in theirs}
    started = starting_point(original, part=f"network_g, interpolated: {1 - share:g} of the sum")
    kept = {key: value for key, value in second.items() if key not in ("params", "params_ema", PUBLISHED)}
    return {**kept, "params": mixed, STARTED: [*second.get(STARTED, []), started]}


def _weights(checkpoint: Mapping[str, Any], path: Path) -> Mapping[str, Tensor]:
    return checkpoint[default_entry(path) or "params"]


if __name__ == "__main__":
    sys.exit(main())
