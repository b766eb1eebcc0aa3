"""Fine-tuning by the shipped option file, on pictures of one kind, from the start to the card."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageDraw
from training_files import CARD
from trainings import finish, printed, run_cli, start

from moeisr_plugin.checkpoints.bundled import bundled_weights
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.checkpoints.provenance import starting_point
from moeisr_plugin.options.parse import read_options, write_options
from moeisr_plugin.render import encode, render

pytestmark = pytest.mark.slow

OPTION_FILE = Path(__file__).parents[2] / "options/train/finetune/finetune_photographs.yml"
START = "tiny_MoEISR_LIIF_s"


def drawing(seed, size=(97, 84)):
    """Draw hard black lines and boxes on white, as on a plan, without grey edges."""
    generator = np.random.default_rng(seed)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for _ in range(5):
        ends = generator.integers(0, size[0], 4)
        draw.line([*map(int, ends)], fill="black", width=int(generator.integers(3, 7)))
    for left, top in generator.integers(0, 70, (2, 2)):
        draw.rectangle([int(left), int(top), int(left) + 14, int(top) + 9], outline="black", width=4)
    return picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A fine-tuning of 90 iterations on eight drawings; losses, rate and phases are those of the file."""
    folder = tmp_path_factory.mktemp("drawings")
    (folder / "own").mkdir()
    for seed in range(8):
        drawing(seed).save(folder / f"own/{seed}.png")
    opt = yaml.safe_load(write_options(read_options(OPTION_FILE))) | {"num_gpu": 0}
    opt["datasets"]["train"] |= {"dataroot_gt": "own", "lr_size": 16, "sample_q": 256}
    opt["train"] |= {"total_iter": 90, "random_gates_iter": 75, "mapper_alone_iter": 15, "warmup_iter": 5}
    opt["train"]["scheduler"] |= {"periods": [75, 15]}
    assert opt["network_g"] == {"from": START}
    assert finish(start(folder, opt)) == [0], printed(folder)
    return folder


@pytest.fixture
def weights(folder):
    return folder / "experiments/finetune_photographs/models/net_g_latest.pth"


@torch.no_grad()
def psnr(weights, scale):
    """Return the mean PSNR of held-out drawings, over all channels and without a border."""
    net, values = network_from(weights).eval(), []
    for seed in range(100, 104):
        lr_size = (97 // scale, 84 // scale)  # width and height
        whole = drawing(seed).crop((0, 0, lr_size[0] * scale, lr_size[1] * scale))
        hr, lr = (
            torch.from_numpy(np.array(each)).permute(2, 0, 1)[None] / 255
            for each in (whole, whole.resize(lr_size, Image.Resampling.BICUBIC))
        )
        picture = render(net, encode(net, lr), (whole.height, whole.width)).clamp(0, 1)
        inner = (..., slice(scale, -scale), slice(scale, -scale))
        values.append(-10 * (picture - hr)[inner].square().mean().log10())
    return torch.stack(values).mean().item()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_held_out_pictures_of_the_kind_improve(scale, weights):
    assert psnr(weights, scale) > psnr(bundled_weights()[START], scale) + 0.1


def test_the_card_names_the_start_with_its_data_and_licences(folder, weights):
    own = [{"name": "Drawings", "licence": "CC0", "source": "this test", "pictures": 8}]
    (folder / "card.yml").write_text(yaml.safe_dump({**CARD, "training_images": own}))
    code, text = run_cli(folder, "publish", weights, "-o", "zoo", "--card", "card.yml")
    assert code == 0, text
    card = (folder / "zoo/finetune_photographs.md").read_text(encoding="utf-8")
    source = starting_point(bundled_weights()[START])
    for part in (source["name"], source["sha256"], source["licence"]):
        assert part in card
    assert len(source["training_data"]) == 3
    for data in source["training_data"]:
        assert f"{data['name']} ({data['licence']})" in card
    assert "| Drawings | 8 | CC0 | this test |" in card
