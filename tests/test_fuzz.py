"""Fuzzing: a damaged picture, checkpoint, database or option file gives a one-line error with its path.

A damaged picture that is accepted has the pixels that a second decoder finds. The environment variable
MOEISR_FUZZ multiplies the number of cases: 5 gives 10,500 for a night.
"""

import os
import random
import re
import shutil
from io import BytesIO
from pathlib import Path

import imagecodecs
import lmdb
import numpy as np
import pytest
import tifffile
import torch
from fuzzing import cases, mutate, mutate_png, mutate_zip, survive
from picture_files import encode, noise
from picture_grid import all_cases, by_pillow, smooth
from PIL import Image, ImageCms
from references import TINY_ENCODER, lively
from second_decoder import disagreement

from moeisr_plugin.archs.implicit_arch import LIIF, MoEISRLIIF
from moeisr_plugin.cli import main
from moeisr_plugin.data import ArbitraryScaleDataset, ScaleValidationDataset
from moeisr_plugin.pictures import read_picture, upright
from moeisr_plugin.utils.tensor_files import write_tensor_file

MAX_PIXELS = 2**16

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def accepted(path: Path, feed) -> bool:
    """Return whether `feed` succeeds; an error must be one line with the path."""
    try:
        feed()
    except ValueError as error:
        message = str(error)
        assert str(path) in message, message
        assert "\n" not in message, message
        return False
    return True


def saved(image, name, **options):
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def seed_pictures() -> list[tuple[str, bytes]]:
    """Return (suffix, content) of tiny pictures in all formats and layouts, some with metadata."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Acme"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    rgb, rgba = (Image.fromarray(noise(16, 12, channels=channels)) for channels in (3, 4))
    smooth = Image.linear_gradient("L").resize((12, 16)).convert("RGB")
    metadata = {"exif": exif.tobytes(), "icc_profile": profile}
    deep = BytesIO()
    tifffile.imwrite(deep, noise(16, 12, dtype=np.uint16), photometric="rgb", compression="zlib")
    pages = [smooth, rgb]
    return [
        (".png", saved(rgb, "PNG", dpi=(72, 72), **metadata)),
        (".png", saved(rgba, "PNG")),
        (".png", saved(rgb.quantize(8), "PNG", transparency=0)),
        (".png", encode(noise(16, 12, channels=4, dtype=np.uint16))),
        (".png", encode(noise(16, 12, channels=1, dtype=np.uint16))),
        (".jpg", saved(smooth, "JPEG", dpi=(72, 72), **metadata)),
        (".jpg", saved(smooth, "JPEG", progressive=True)),
        (".jpg", saved(smooth.convert("CMYK"), "JPEG")),
        (".webp", saved(smooth, "WEBP", **metadata)),
        (".webp", saved(rgba, "WEBP", lossless=True)),
        (".webp", saved(rgb, "WEBP", save_all=True, append_images=pages)),
        (".tif", saved(rgb, "TIFF", compression="tiff_lzw", icc_profile=profile, dpi=(72, 72))),
        (".tif", saved(smooth, "TIFF", save_all=True, append_images=pages)),
        (".tif", saved(rgb.convert("CMYK"), "TIFF", compression="tiff_deflate")),
        (".tif", saved(Image.new("LAB", (12, 16), (128, 128, 128)), "TIFF", icc_profile=lab)),
        (".tif", deep.getvalue()),
        (".tif", encode(noise(16, 12, dtype=np.uint16), ".tif")),
        (".bmp", saved(rgb, "BMP")),
    ]


def seed_grid() -> list[tuple[str, bytes]]:
    """Return (suffix, content) of generated files of every format."""
    cases_of: dict[str, list[tuple[str, bytes]]] = {}
    for case in all_cases():
        if "grey and alpha" not in case.name and "associated" not in case.name:
            cases_of.setdefault(case.suffix, []).append((case.suffix, case.data))
    chosen = [case for of in cases_of.values() for case in random.Random(0).sample(of, min(6, len(of)))]
    rgb = smooth(3)
    return [
        *chosen,
        (".jxl", bytes(imagecodecs.jpegxl_encode(rgb, lossless=True))),
        (".jp2", bytes(imagecodecs.jpeg2k_encode(smooth(3, np.uint16), level=0))),
        (".qoi", bytes(imagecodecs.qoi_encode(rgb))),
        (".tga", by_pillow(rgb, "TGA", compression="tga_rle")),
        (".ico", by_pillow(smooth(4), "ICO")),
        (".gif", by_pillow(smooth(1), "GIF")),
        (".pam", b"P7\nWIDTH 53\nHEIGHT 37\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + rgb.tobytes()),
    ]


class Unchanged:
    """Replacement for `Upscaler` and `EncodedPicture` that returns the picture unchanged."""

    device = None
    precision = "float32"

    def __init__(self, *args, **options):
        self.image = np.empty(0)

    def encode(self, image):
        self.image = image
        return self

    def render_bands(self, *, size):
        yield self.image


def test_damaged_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr("moeisr_plugin.upscaler.Upscaler", Unchanged)
    monkeypatch.setattr("moeisr_plugin.commands.memory._of_network", lambda *_: (0, 0))
    seeds = [*seed_pictures(), *seed_grid()]
    small = {"lr_size": 4, "sample_q": 16, "scale_range": [1, 2], "max_pixels": MAX_PIXELS}

    def feed(number):
        rng = random.Random(number)
        suffix, data = seeds[number % len(seeds)]
        is_png = data.startswith(b"\x89PNG")
        path = tmp_path / str(number) / f"a{suffix}"
        path.parent.mkdir()
        path.write_bytes(mutate_png(data, rng) if is_png and rng.random() < 0.7 else mutate(data, rng))
        folder = {"dataroot_gt": str(path.parent), "max_pixels": MAX_PIXELS, "scale": 2}
        good = accepted(path, lambda: ArbitraryScaleDataset({**folder, **small}).sample(0, seed=0))
        if number % 4 == 0:
            accepted(path, lambda: ScaleValidationDataset({**folder, "skip_bad_pictures": True})[0])
        options = ["--scale", "1", "-o", f"{path.parent}/out{rng.choice(['.png', '.tiff'])}"]
        limit = ["--max-pixels", str(MAX_PIXELS), "--debug"]
        if accepted(path.parent, lambda: main(["upscale", str(path), *options, *limit])):
            picture = read_picture(path, max_pixels=MAX_PIXELS)
            found = disagreement(path.read_bytes(), suffix, upright(picture.pixels, picture.orientation))
            assert found is None, found
        left = {file.name for file in path.parent.iterdir()} - {path.name, "out.png", "out.tiff"}
        assert not left, left
        shutil.rmtree(path.parent)
        return good

    survive(cases(60), feed)


def seed_checkpoints(folder: Path) -> list[tuple[str, bytes]]:
    """Return (suffix, content) of tiny networks in all formats."""
    torch.manual_seed(0)
    liif = lively(LIIF(encoder=TINY_ENCODER, hidden_dim=6, unfold=False))
    mixture = lively(MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6, unfold=False, expert_depths=(2, 3)))
    for number, net in enumerate((liif, mixture)):
        checkpoint = {"params": net.state_dict(), "network_g": net.hyper_parameters}
        if number:
            checkpoint["params_ema"] = net.state_dict()
        for suffix in (".pth", ".safetensors"):
            write_tensor_file(folder / f"{number}{suffix}", checkpoint)
        torch.save(checkpoint, folder / f"old{number}.pth", _use_new_zipfile_serialization=False)
    return [(path.suffix, path.read_bytes()) for path in sorted(folder.iterdir())]


def test_damaged_checkpoints(tmp_path):
    seeds = seed_checkpoints(tmp_path)

    def feed(number):
        rng = random.Random(number)
        suffix, data = seeds[number % len(seeds)]
        is_zip = data.startswith(b"PK")
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(mutate_zip(data, rng) if is_zip and rng.random() < 0.8 else mutate(data, rng))
        target = tmp_path / f"out{rng.choice(['.pth', '.safetensors'])}"
        return accepted(path, lambda: main(["convert", str(path), str(target), "--overwrite", "--debug"]))

    survive(cases(20), feed)


def seed_database(folder: Path) -> dict[str, bytes]:
    """Write an LMDB of two pictures and return its values by key."""
    values = {str(i): encode(noise(16, 12, seed=i), suffix) for i, suffix in enumerate((".png", ".jpg"))}
    with lmdb.open(str(folder), map_size=2**17) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    (folder / "meta_info.txt").write_text("".join(f"{key}.png (16,12,3) 1\n" for key in values))
    (folder / "lock.mdb").unlink()
    return values


def test_damaged_databases(tmp_path):
    values = seed_database(tmp_path / "seed.lmdb")

    def feed(number):
        rng = random.Random(number)
        root = tmp_path / f"{number}.lmdb"  # environments stay open, one for each path
        shutil.copytree(tmp_path / "seed.lmdb", root)
        damaged = root / rng.choice(["data.mdb", "meta_info.txt"])
        if number % 3:
            key, value = rng.choice(list(values.items()))
            with (
                lmdb.open(str(root), map_size=2**17) as environment,
                environment.begin(write=True) as writing,
            ):
                writing.put(key.encode(), mutate(value, rng))
        else:
            damaged.write_bytes(mutate(damaged.read_bytes(), rng))
        opt = {"dataroot_gt": str(root), "io_backend": {"type": "lmdb"}, "max_pixels": MAX_PIXELS, "scale": 2}
        # Keep the folder: a reused inode number would be taken for an environment that is still open.
        return accepted(root, lambda: [ScaleValidationDataset(opt)[index] for index in range(2)])

    survive(cases(20), feed)
    shutil.rmtree(tmp_path)


def test_damaged_option_files(tmp_path):
    folder = Path(__file__).parents[1] / "options" / "train"
    seeds = [path.read_bytes() for path in sorted(folder.rglob("*.yml"))[::7]]

    def feed(number):
        rng = random.Random(number)
        path = tmp_path / "options.yml"
        data = rng.choice(seeds)
        path.write_bytes(mutate(re.sub(rb"(?m)^_base_.*\n", b"", data), rng))
        return accepted(path, lambda: main(["options", str(path), "--debug"]))

    survive(cases(20), feed)
