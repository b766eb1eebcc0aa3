"""Pictures side by side: bicubic, the default network, the original and the expert map."""

import io
from typing import NamedTuple

import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont
from skimage import data, metrics

from moeisr_plugin import Upscaler

_GAP, _TEXT = 8, 30
_INK, _PAPER = "#222222", "#ffffff"
Window = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the original


class Example(NamedTuple):
    """A part of a picture that was reduced and enlarged again.

    Attributes:
        original: (H, W, 3) uint8, with sides that are multiples of the scale.
        scale: the scale.
        window: the part that is shown.
        zoom: pixels of the figure per pixel of the original.
        quality: JPEG quality of the reduced picture, None for an intact one.
    """

    original: np.ndarray
    scale: int
    window: Window
    zoom: int = 2
    quality: int | None = None


def gain() -> bytes:
    """Return the strip of README: whiskers and fur at ×4."""
    example = Example(_cropped(data.chelsea(), 4), 4, (100, 70, 260, 210))
    return _jpeg(_row(example, Upscaler(device="cpu")))


def large_scale() -> bytes:
    """Return a photograph at ×8."""
    example = Example(_cropped(data.coffee(), 8), 8, (190, 90, 350, 230))
    return _jpeg(_row(example, Upscaler(device="cpu")))


def failures() -> bytes:
    """Return two failures: JPEG blocks that become sharper, and lettering that becomes other shapes."""
    upscaler = Upscaler(device="cpu")
    blocks = Example(_cropped(data.chelsea(), 4), 4, (100, 70, 260, 210), quality=30)
    letters = Example(_lettering(), 4, (0, 0, 160, 100))
    return _jpeg(_stacked([_row(blocks, upscaler), _row(letters, upscaler)]))


def _lettering() -> np.ndarray:
    """Return black lettering and lines on white, 160×100 pixels."""
    picture = Image.new("RGB", (160, 100), "white")
    draw = ImageDraw.Draw(picture)
    for number, words in enumerate(("moeisr upscale photo", "--scale 4 --weights", "MoEISR, LIIF and LTE")):
        draw.text((6, 4 + 18 * number), words, "black", _font(13))
    for number in range(8):
        draw.line((6 + 16 * number, 96, 26 + 18 * number, 62), "black", 1)
    return np.asarray(picture)


def _cropped(picture: np.ndarray, scale: int) -> np.ndarray:
    height, width = (n // scale * scale for n in picture.shape[:2])
    return np.ascontiguousarray(picture[:height, :width])


def _row(example: Example, upscaler: Upscaler) -> Image.Image:
    """Draw the panels of an example with titles."""
    original, scale = example.original, example.scale
    height, width = original.shape[:2]
    reduced = Image.fromarray(original).resize((width // scale, height // scale), Image.Resampling.BICUBIC)
    title = f"bicubic ×{scale}"
    if example.quality is not None:
        content = io.BytesIO()
        reduced.save(content, "JPEG", quality=example.quality)
        reduced = Image.open(content).convert("RGB")
        title = f"bicubic ×{scale}, from JPEG of quality {example.quality}"
    encoded = upscaler.encode(np.asarray(reduced))
    bicubic = np.asarray(reduced.resize((width, height), Image.Resampling.BICUBIC))
    ours = encoded.render(size=(height, width))
    experts = encoded.expert_map()
    assert experts is not None  # the default network is a mixture
    chosen = np.asarray(Image.fromarray(experts).resize((width, height), Image.Resampling.NEAREST))
    panels = [
        (bicubic, f"{title}, {_psnr(bicubic, original):.1f} dB"),
        (ours, f"MoEISR ×{scale}, {_psnr(ours, original):.1f} dB"),
        (original, "original"),
        (chosen, "layers: yellow 2, green 3, blue 4, red 5"),
    ]
    return _side_by_side([(_shown(picture, example), words) for picture, words in panels])


def _psnr(picture: np.ndarray, original: np.ndarray) -> float:
    return metrics.peak_signal_noise_ratio(original, picture, data_range=255)


def _shown(picture: np.ndarray, example: Example) -> Image.Image:
    part = Image.fromarray(picture).crop(example.window)
    size = (part.width * example.zoom, part.height * example.zoom)
    return part.resize(size, Image.Resampling.NEAREST)


def _side_by_side(panels: list[tuple[Image.Image, str]]) -> Image.Image:
    width = sum(picture.width + _GAP for picture, _ in panels) - _GAP
    strip = Image.new("RGB", (width, panels[0][0].height + _TEXT), _PAPER)
    draw, left = ImageDraw.Draw(strip), 0
    for picture, words in panels:
        strip.paste(picture, (left, _TEXT))
        size = 17
        while draw.textlength(words, _font(size)) > picture.width:
            size -= 1
        draw.text((left + 2, 5), words, _INK, _font(size))
        left += picture.width + _GAP
    return strip


def _stacked(rows: list[Image.Image]) -> Image.Image:
    height = sum(row.height + _GAP for row in rows) - _GAP
    stack = Image.new("RGB", (max(row.width for row in rows), height), _PAPER)
    top = 0
    for row in rows:
        stack.paste(row, (0, top))
        top += row.height + _GAP
    return stack


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Load the font that comes with matplotlib. The default font of Pillow lacks ×."""
    return ImageFont.truetype(findfont("DejaVu Sans"), size)


def _jpeg(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=86, optimize=True)
    return content.getvalue()
