"""Make a test set in BasicSR's layout: HR cropped to multiples of 12, and LR as MATLAB makes it.

    python tools/mod12.py datasets/Set5/HR -o datasets/mod12/Set5
    moeisr evaluate --weights tiny_LIIF --data datasets/mod12/Set5 --protocol basicsr

BasicSR measures the rows of its docs/ModelZoo.md on such sets. OUT receives GTmod12, LRbicx2, LRbicx3 and
LRbicx4. HR may be cropped to multiples of 2, 3, 4 or 6 already.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from moeisr_plugin.data.grids import Size
from moeisr_plugin.data.resampling import downsample
from moeisr_plugin.data.storage import FolderPictures
from moeisr_plugin.utils.atomic import atomic_write

MULTIPLE = 12
SCALES = (2, 3, 4)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="HR", help="folder of HR pictures of 8 bits")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="OUT", help="output folder")
    args = parser.parse_args(argv)
    try:
        if args.out.exists():
            raise ValueError(f"{args.out}: already exists; choose another -o")
        pictures = FolderPictures(args.folder)
        for index in range(len(pictures)):
            write(pictures.read(index), pictures.path(index), args.out)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    print(f"{args.out}: {len(pictures)} pictures")
    return 0


def write(hr: np.ndarray, path: str, out: Path) -> None:
    """Write a picture and its LR.

    Args:
        hr: (H, W, 3) RGB.
        path: file of the picture.
        out: output folder.

    Raises:
        ValueError: the picture has 16 bits, or is smaller than 12 pixels.
    """
    height, width = (side - side % MULTIPLE for side in hr.shape[:2])
    if hr.dtype != np.uint8 or min(height, width) == 0:
        raise ValueError(f"{path}: needs 8 bits and at least {MULTIPLE}x{MULTIPLE} pixels; leave it out")
    hr = hr[:height, :width]
    name = f"{Path(path).stem}.png"
    _save(hr, out / "GTmod12" / name)
    for scale in SCALES:
        lr = downsample(hr, Size(height // scale, width // scale), "matlab")
        _save(np.rint(lr * 255).astype(np.uint8), out / f"LRbicx{scale}" / name)


def _save(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        Image.fromarray(picture).save(file, "PNG")


if __name__ == "__main__":
    sys.exit(main())
