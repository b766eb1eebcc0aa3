"""Draw crops side by side and expert maps from the output of `moeisr evaluate --save-images`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import uniform_filter

from evidence.reports import BICUBIC, ORIGINAL, Benchmark, Method
from moeisr_plugin.metrics.routing_health import gradient_energy
from moeisr_plugin.render import colour_experts

_PANEL = 208  # pixels along a side, as shown
_CROP = 104  # pixels of the picture along a side
_GAP, _TEXT = 8, 34
_INK, _FAINT, _PAPER = "#222222", "#666666", "#ffffff"


class Panel(NamedTuple):
    """A picture of height `_PANEL` with two lines of text below."""

    picture: Image.Image
    title: str
    remark: str = ""


def pictures_to_show(benchmark: Benchmark, wanted: Sequence[str]) -> list[str]:
    """Return the wanted pictures of the data set, or else those with the largest and smallest gain.

    The gain is the PSNR of the last network minus that of bicubic at the last scale.
    """
    scale, network = benchmark.scales[-1], benchmark.methods[-1].name
    gains = {
        picture: row["psnr"] - benchmark.pictures[BICUBIC, scale, picture]["psnr"]
        for (method, at, picture), row in benchmark.pictures.items()
        if (method, at) == (network, scale)
    }
    chosen = [picture for picture in wanted if picture in gains]
    return chosen or list(dict.fromkeys(choose(gains, key=lambda name: gains[name]) for choose in (max, min)))


def crops(benchmark: Benchmark, pictures: Sequence[str], scale: str) -> Image.Image:
    """Draw a row per picture: the original, each method, and the expert map of each mixture."""
    return _stacked([_side_by_side(_crop_panels(benchmark, picture, scale)) for picture in pictures])


def expert_maps(benchmark: Benchmark, pictures: Sequence[str], scale: str) -> Image.Image:
    """Draw whole pictures beside the expert maps of the first mixture, with a colour key."""
    mixture = next(method for method in benchmark.methods if method.is_mixture)
    panels = []
    for picture in pictures:
        original = _open(benchmark, benchmark.methods[0], picture, scale, ORIGINAL)
        chosen = _open(benchmark, mixture, picture, scale, suffix="_experts")
        row = benchmark.pictures[mixture.name, scale, picture]
        shares = " / ".join(f"{100 * row[f'share_d{depth}']:.0f}" for depth in mixture.depths)
        panels += [
            Panel(_fitted(original), picture),
            Panel(_fitted(chosen), f"{mixture.label} ×{scale}", f"{shares} %"),
        ]
    return _stacked([_side_by_side(panels), _key(mixture)])


def most_detailed(picture: Image.Image, side: int) -> tuple[int, int, int, int]:
    """Return the square window (left, top, right, bottom) with the largest gradient energy."""
    rgb = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    energy = gradient_energy(rgb)[0].numpy()  # (H, W)
    height, width = energy.shape
    side = min(side, height, width)
    sums = uniform_filter(energy, side, mode="constant")
    half = side // 2
    inside = sums[half : height - side + half + 1, half : width - side + half + 1]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return int(left), int(top), int(left) + side, int(top) + side


def _crop_panels(benchmark: Benchmark, picture: str, scale: str) -> list[Panel]:
    bicubic = benchmark.methods[0]
    original = _open(benchmark, bicubic, picture, scale, ORIGINAL)
    window = most_detailed(original, _CROP)
    panels = [Panel(_cut(original, window), "original", f"{picture}, ×{scale}")]
    for method in benchmark.methods:
        row = benchmark.pictures[method.name, scale, picture]
        enlarged = _open(benchmark, method, picture, scale)
        panels.append(Panel(_cut(enlarged, window), method.label, f"{row['psnr']:.2f} dB"))
    for method in (method for method in benchmark.methods if method.is_mixture):
        chosen = _open(benchmark, method, picture, scale, suffix="_experts")
        whole = chosen.resize(original.size, Image.Resampling.NEAREST)
        depths = f"{method.depths[0]} to {method.depths[-1]} layers, yellow to red"
        panels.append(Panel(_cut(whole, window), f"experts of {method.label}", depths))
    return panels


def _open(
    benchmark: Benchmark, method: Method, picture: str, scale: str, name: str = "", suffix: str = ""
) -> Image.Image:
    folder = method.images / (name or method.name) / f"{benchmark.dataset}_x{scale}"
    return Image.open(folder / f"{picture}{suffix}.png").convert("RGB")


def has_pictures(benchmark: Benchmark) -> bool:
    """Return whether the pictures of all methods were saved."""
    folders = {method.images / method.name for method in benchmark.methods}
    return all(folder.is_dir() for folder in {*folders, benchmark.methods[0].images / ORIGINAL})


def _cut(picture: Image.Image, window: tuple[int, int, int, int]) -> Image.Image:
    return picture.crop(window).resize((_PANEL, _PANEL), Image.Resampling.NEAREST)


def _fitted(picture: Image.Image) -> Image.Image:
    """Resize a picture to the height of a panel."""
    width = round(picture.width * _PANEL / picture.height)
    kernel = Image.Resampling.LANCZOS if picture.height > _PANEL else Image.Resampling.NEAREST
    return picture.resize((width, _PANEL), kernel)


def _side_by_side(panels: Sequence[Panel]) -> Image.Image:
    width = sum(panel.picture.width + _GAP for panel in panels) - _GAP
    strip = Image.new("RGB", (width, _PANEL + _TEXT), _PAPER)
    draw = ImageDraw.Draw(strip)
    left = 0
    for panel in panels:
        strip.paste(panel.picture, (left, 0))
        draw.text((left, _PANEL + 4), panel.title, _INK, _font(11))
        draw.text((left, _PANEL + 18), panel.remark, _FAINT, _font(10))
        left += panel.picture.width + _GAP
    return strip


def _key(mixture: Method) -> Image.Image:
    """Draw the key that maps colours to experts."""
    colours = colour_experts(torch.arange(len(mixture.depths)), len(mixture.depths)).tolist()
    key = Image.new("RGB", (110 * len(mixture.depths), 18), _PAPER)
    draw = ImageDraw.Draw(key)
    for number, (depth, colour) in enumerate(zip(mixture.depths, colours, strict=True)):
        left = 110 * number
        draw.rectangle((left, 2, left + 13, 15), tuple(colour))
        draw.text((left + 20, 2), f"{depth} layers", _INK, _font(11))
    return key


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Load the font bundled with matplotlib. The default font of Pillow lacks ×."""
    return ImageFont.truetype(findfont("DejaVu Sans"), size)


def _stacked(strips: Sequence[Image.Image]) -> Image.Image:
    width = max(strip.width for strip in strips)
    height = sum(strip.height + _GAP for strip in strips) - _GAP
    stack = Image.new("RGB", (width, height), _PAPER)
    top = 0
    for strip in strips:
        stack.paste(strip, (0, top))
        top += strip.height + _GAP
    return stack
