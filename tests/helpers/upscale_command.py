"""Run `moeisr upscale` in tests, with bicubic enlargement instead of a network."""

import numpy as np
import torch
from picture_files import upscale_pixels
from PIL import Image

from moeisr_plugin.cli import main
from moeisr_plugin.pictures import Picture, read_picture, write_picture


class Encoded:
    """Stand-in for `EncodedPicture`."""

    def __init__(self, upscaler, image):
        self.upscaler = upscaler
        self.image = image
        self.layers = 1

    def render_bands(self, *, size):
        enlarged = self.upscaler(self.image, size=size)
        for start in range(0, len(enlarged), 7):
            yield enlarged[start : start + 7]

    def within_budget(self, budget):
        self.upscaler.budgets.append(budget)
        return self

    def expert_map(self):
        return self.upscaler.expert_map(self.image)


class Bicubic:
    """Stand-in for `Upscaler` that records requested sizes and budgets."""

    mapped = True
    given: tuple
    sizes: list[tuple[int, int]]
    budgets: list[float]
    net: torch.nn.Module | None = None
    device = torch.device("cpu")

    def __init__(
        self, weights=None, *, device=None, precision="float32", progress=False, keep_hidden_colour=False
    ):
        self.device = torch.device(device or "cpu")
        self.precision = precision
        type(self).given = (weights, device, precision)
        type(self).sizes = []
        type(self).budgets = []

    def __call__(self, image, *, scale=None, size=None):
        assert scale is None
        assert size is not None
        self.sizes.append(size)
        height, width = size

        def enlarge(colours):
            planes = [Image.fromarray(plane).resize((width, height)) for plane in np.moveaxis(colours, 2, 0)]
            return np.stack([np.asarray(plane) for plane in planes], axis=2)

        return upscale_pixels(image, enlarge)

    @property
    def num_experts(self):
        return 4 if self.mapped else 1

    def encode(self, image):
        return Encoded(self, image)

    def expert_map(self, image):
        rows = np.arange(image.shape[0], dtype=np.uint8)[:, None, None]
        return np.broadcast_to(rows, (*image.shape[:2], 3)).copy() if self.mapped else None


def draw(path, width=12, height=10, *, channels=3, dtype: type = np.uint8, orientation=1):
    rng = np.random.default_rng(width)
    pixels = rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype=dtype)
    exif = Image.Exif()
    exif[274] = orientation
    write_picture(path, Picture(pixels, exif=exif.tobytes().removeprefix(b"Exif\0\0")))
    return path


def moeisr(*arguments):
    try:
        return main(["upscale", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


def size_of(path):
    height, width = read_picture(path).pixels.shape[:2]
    return width, height


def refused(capsys, *arguments):
    """Run a command that must exit with 2, and return its single line on stderr."""
    assert moeisr(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]
