"""Pass photographs through the model of one camera, to try fine-tuning on pictures of one kind.

    python tools/one_camera.py photos -o camera

The model: a soft lens (Gaussian of SIGMA pixels in linear light), a colour filter array (RGGB) with bilinear
interpolation, and sharpening (unsharp mask). It is the same for all pictures. OUT receives PNG files.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter

from moeisr_plugin.data.storage import FolderPictures
from moeisr_plugin.utils.atomic import atomic_write

SIGMA = 0.7  # of the lens, in pixels
RADIUS, AMOUNT = 1.2, 1.0  # of the unsharp mask
GAMMA = 2.2
CROSS = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
SQUARE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of pictures of 8 bits")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="OUT", help="output folder")
    args = parser.parse_args(argv)
    try:
        if args.out.exists():
            raise ValueError(f"{args.out}: already exists; choose another -o")
        pictures = FolderPictures(args.folder)
        args.out.mkdir(parents=True)
        for index in range(len(pictures)):
            picture = Image.fromarray(photographed(pictures.read(index)))
            with atomic_write(args.out / f"{Path(pictures.path(index)).stem}.png") as file:
                picture.save(file, "PNG")
    except (OSError, ValueError) as error:
        print(f"one_camera: {error}", file=sys.stderr)
        return 2
    return 0


def photographed(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) as the camera records it."""
    light = (rgb / 255) ** GAMMA
    seen = blurred(light, SIGMA)
    row, column = np.indices(rgb.shape[:2]) % 2
    sites = (row + column == 0, row != column, row + column == 2)  # red, green, blue
    channels = [
        convolve(seen[..., c] * site, CROSS if c == 1 else SQUARE, mode="mirror")
        for c, site in enumerate(sites)
    ]
    picture = np.stack(channels, axis=-1).clip(0, 1) ** (1 / GAMMA)
    sharpened = picture + AMOUNT * (picture - blurred(picture, RADIUS))
    return (255 * sharpened).round().clip(0, 255).astype(np.uint8)


def blurred(picture: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    return gaussian_filter(picture, (sigma, sigma, 0))


if __name__ == "__main__":
    raise SystemExit(main())
