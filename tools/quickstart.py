"""Train a small MoEISR for a few minutes, measure it, and enlarge a photograph with it.

Output goes to quickstart/ (pictures and results) and experiments/quickstart/ in the repository.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = Path("options", "train", "train_quickstart.yml")
PICTURES = ROOT / "quickstart" / "pictures"
RESULTS = ROOT / "quickstart" / "results"
WEIGHTS = ROOT / "experiments" / "quickstart" / "models" / "net_g_latest.pth"

# Photographs bundled with scikit-image, a requirement of the toolbox.
TRAIN = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
)
HELD_OUT = ("chelsea.png", "rocket.jpg")
SCALES = (2.0, 3.0, 4.0, 3.7)
SHOWN_SCALE = 3.7


def lay_out_pictures() -> None:
    """Copy the photographs to the folders that the option file names."""
    import skimage

    source = Path(skimage.__file__).parent / "data"
    for folder, names in (("train", TRAIN), ("val", HELD_OUT)):
        target = PICTURES / folder
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in names:
            shutil.copy(source / name, target)


def train() -> None:
    """Run the training command."""
    # For a network of this size, a second thread gains little, and slows training on a busy machine.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    command = [sys.executable, "-m", "moeisr_plugin.train", "-opt", str(OPTIONS)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def enlarge(lr: np.ndarray, size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    """Enlarge a picture (h, w, 3) uint8 to (height, width) with Pillow."""
    height, width = size
    return np.asarray(Image.fromarray(lr).resize((width, height), method))


def print_table() -> bool:
    """Print PSNR on the held-out photographs. Return whether the model beats bicubic at x2 and x3."""
    from moeisr_plugin import Upscaler
    from moeisr_plugin.data.scale_validation_dataset import ScaleValidationDataset
    from moeisr_plugin.metrics import calculate_psnr_protocol

    upscaler = Upscaler(WEIGHTS, device="cpu")
    gains = {}
    print(f"\nPSNR in dB (benchmark protocol: Y, crop = scale) on the held-out {', '.join(HELD_OUT)}:\n")
    print("| scale | bicubic | MoEISR | gain |\n|---|---|---|---|")
    for scale in SCALES:
        opt = {
            "name": "held_out",
            "dataroot_gt": str(PICTURES / "val"),
            "io_backend": {"type": "disk"},
            "scale": scale,
        }
        psnrs = []
        for sample in ScaleValidationDataset(opt):
            hr, lr = (_picture(sample[key]) for key in ("gt", "lq"))
            size = hr.shape[:2]
            candidates = (
                enlarge(lr, size, Image.Resampling.BICUBIC) / 255.0,
                upscaler(lr / 255.0, size=size),
            )
            psnrs.append(
                [
                    calculate_psnr_protocol(
                        candidate[..., ::-1] * 255.0,
                        hr[..., ::-1].astype(np.float64),
                        protocol="benchmark",
                        scale=scale,
                    )
                    for candidate in candidates
                ]
            )
        bicubic, model = np.mean(psnrs, axis=0)
        gains[scale] = model - bicubic
        print(f"| x{scale:g} | {bicubic:.2f} | {model:.2f} | {gains[scale]:+.2f} |")
    return gains[2.0] > 0 and gains[3.0] > 0


def _picture(planes: object) -> np.ndarray:
    """Convert (3, H, W) in [0, 1] to (H, W, 3) uint8."""
    return np.rint(np.moveaxis(np.asarray(planes), 0, 2) * 255).astype(np.uint8)


def write_pictures() -> None:
    """Enlarge a held-out photograph, and write a strip that compares the methods on a downscaled version."""
    from moeisr_plugin import Upscaler
    from moeisr_plugin.pictures import Picture, read_picture, write_picture

    RESULTS.mkdir(parents=True, exist_ok=True)
    upscaler = Upscaler(WEIGHTS, device="cpu")
    photograph = read_picture(PICTURES / "val" / HELD_OUT[0]).pixels
    encoded = upscaler.encode(photograph)
    expert_map = encoded.expert_map()
    assert expert_map is not None  # the quick start trains a mixture
    write_picture(RESULTS / "cat_x3.7.png", Picture(encoded.render(scale=SHOWN_SCALE)))
    write_picture(RESULTS / "cat_x3.7_experts.png", Picture(expert_map))

    height, width = (round(n / SHOWN_SCALE) for n in photograph.shape[:2])
    lr = np.asarray(Image.fromarray(photograph).resize((width, height), Image.Resampling.BICUBIC))
    size = (photograph.shape[0], photograph.shape[1])
    encoded = upscaler.encode(lr)
    small_map = encoded.expert_map()
    assert small_map is not None
    panels = [
        enlarge(lr, size, Image.Resampling.NEAREST),
        enlarge(lr, size, Image.Resampling.BICUBIC),
        encoded.render(size=size),
        enlarge(small_map, size, Image.Resampling.NEAREST),
        photograph,
    ]
    gap = np.full((size[0], 8, 3), 255, np.uint8)
    strip = np.hstack([part for panel in panels for part in (panel, gap)][:-1])
    write_picture(RESULTS / "strip.png", Picture(strip))


def main() -> int:
    """Run the quick start.

    Returns:
        0, or 1 if the model does not beat bicubic at x2 and x3.
    """
    start = time.perf_counter()
    lay_out_pictures()
    train()
    better = print_table()
    write_pictures()
    print(
        f"""
In {RESULTS}:
  cat_x3.7.png          the photograph, enlarged
  cat_x3.7_experts.png  its expert map, from yellow (shallowest expert) to red (deepest)
  strip.png             LR, bicubic, MoEISR, expert map, original
Total time: {time.perf_counter() - start:.0f} s. Enlarge your own picture:
  .venv/bin/moeisr upscale PICTURE --scale 2.5 --weights {WEIGHTS.relative_to(ROOT)}"""
    )
    if not better:
        print("Error: the model does not beat bicubic at x2 and x3.", file=sys.stderr)
    return 0 if better else 1


if __name__ == "__main__":
    sys.exit(main())
