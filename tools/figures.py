"""Draw the figures of README.md and docs/, with the default network and from docs/results.

    python tools/figures.py
    python tools/figures.py --only strip.jpg psnr_macs.png

The pictures are chelsea and coffee of scikit-image (both CC0), and lettering that is drawn here. Look at each
figure after a network has changed.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from documents.sources import ROOT
from illustration import pipeline, scatter, strips

from moeisr_plugin.utils.atomic import atomic_write

FIGURES: dict[str, Callable[[], bytes]] = {
    "strip.jpg": strips.gain,
    "photograph_x8.jpg": strips.large_scale,
    "failures.jpg": strips.failures,
    "psnr_macs.png": scatter.psnr_against_macs,
    "psnr_seconds.png": scatter.psnr_against_seconds,
    "pipeline.svg": pipeline.drawing,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), help="default: all")
    parser.add_argument("-o", dest="out", type=Path, default=ROOT / "docs" / "images", metavar="FOLDER")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        content = FIGURES[name]()
        with atomic_write(args.out / name) as file:
            file.write(content)
        print(f"{args.out / name}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
