"""The examples of the README run, and its numbers match the measurements in docs/results."""

import json
import re
import shlex
from itertools import product
from pathlib import Path

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from PIL import Image
from skimage import data
from training_files import write_card, write_experiment, write_results

from moeisr_plugin import cli
from moeisr_plugin.archs.implicit_arch import LIIF, MoEISRLIIF
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.evaluation.results import BICUBIC

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PYTHON = "\n".join(code for language, code in BLOCKS if language == "python")
COMMANDS = [
    line for language, code in BLOCKS if language == "bash" for line in code.replace("\\\n", " ").splitlines()
]


@pytest.fixture
def users_folder(tmp_path, monkeypatch):
    """Create a working directory with the files that the README mentions."""
    torch.manual_seed(0)
    encoder = {"type": "EDSREncoder", "num_feat": 8, "num_block": 1}
    net = MoEISRLIIF(encoder=encoder, hidden_dim=8)
    for name in ("net_g_latest.pth", "a.pth", "b.pth"):
        save_checkpoint(tmp_path / name, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    torch.save(published_liif(LIIF(encoder=encoder, hidden_dim=8)), tmp_path / "edsr-baseline-liif.pth")
    for folder in ("photos", "datasets/Set5"):
        (tmp_path / folder).mkdir(parents=True)
    for path in ("photo.png", "photos/one.png", "datasets/Set5/one.png"):
        Image.fromarray(data.chelsea()[100:121, 100:133]).save(tmp_path / path)
    write_card(tmp_path / "card.yml")
    experiment = tmp_path / "experiments/train_EDSR_MoEISR_LIIF_s"
    write_experiment(experiment)
    write_results(tmp_path / "results/Set14/results.json", experiment / "models/net_g_latest.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def published_liif(net):
    """Return a LIIF on EDSR in the format of the published code."""
    args = {
        "encoder_spec": {
            "name": "edsr-baseline",
            "args": {"no_upsampling": True, "n_feats": 8, "n_resblocks": 1},
        },
        "imnet_spec": {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [8] * 4}},
    }
    weights = {key.replace("experts.0.", "imnet."): value for key, value in net.state_dict().items()}
    return {"model": {"name": "liif", "args": args, "sd": weights}}


def test_python_examples_run(users_folder):
    try:
        exec(compile(PYTHON, "README.md", "exec"), {})
    finally:
        ARCH_REGISTRY._obj_map.pop("OneConvolution", None)
    assert Image.open(users_folder / "enlarged.png").size == (round(33 * 3.7), round(21 * 3.7))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("moeisr ")])
def test_commands_run(users_folder, command, capsys):
    before = set(users_folder.rglob("*"))
    assert cli.main(shlex.split(command, comments=True)[1:]) == 0
    assert set(users_folder.rglob("*")) - before or capsys.readouterr().out


def test_files_that_commands_name_exist():
    named = [word for command in COMMANDS for word in shlex.split(command, comments=True)]
    paths = [word for word in named if word.startswith(("options/", "tools/"))]
    assert len(paths) >= 4
    assert all((ROOT / path).is_file() for path in paths)


# --- numbers ---

SMALL_CASES = ("4x96x96", "8x64x64")
GPU_PRECISIONS = ("float32", "tf32", "bfloat16")
TO_4K = "Times as fast from 720p to 4K"


def table_rows(heading):
    """Return the rows of the README table with this first heading, as {first cell: other cells}."""
    _, _, below = README.partition(f"| {heading} |")
    lines = below.split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows
    return {name: cells for name, *cells in rows}


def kept_averages(pattern, precision="float32"):
    """Return the averages in docs/results, as {(network, scale): row}."""
    kept = {}
    for path in (ROOT / "docs/results").glob(pattern):
        report = json.loads(path.read_text(encoding="utf-8"))
        assert report["precision"] == precision
        for row in report["averages"]:
            name = re.sub(r"^tiny_|-[0-9a-f]{8}$", "", row["weights"]).replace("_", "-")
            kept[name, row["scale"]] = row
    assert kept
    return kept


def test_quality_of_bundled_networks_matches_the_reports():
    kept = kept_averages("Set14_on_*.json")
    rows = table_rows("Set14, given LR")
    assert set(rows) == {name for name, _ in kept}
    for name, (*psnrs, macs, seconds) in rows.items():
        assert psnrs == [f"{kept[name, scale]['psnr']:.2f}" for scale in "234"]
        if name != BICUBIC:
            assert macs == f"{kept[name, '4']['decoder_macs_executed'] / 1e9:.3g}"
            assert seconds == f"{kept[name, '4']['decode_seconds']:.2f}"


@pytest.mark.parametrize(
    ("heading", "file", "cases", "threads", "precisions"),
    [
        ("Times as fast", "benchmark.json", SMALL_CASES, (1, 2), ("float32", "bfloat16")),
        ("Times as fast on a GPU", "benchmark_on_a_gpu.json", SMALL_CASES, (1,), GPU_PRECISIONS),
        (TO_4K, "benchmark_on_a_gpu_to_4k.json", ("3x1280x720",), (1,), GPU_PRECISIONS),
    ],
)
def test_speed_matches_the_reports(heading, file, cases, threads, precisions):
    report = json.loads((ROOT / "docs/results" / file).read_text(encoding="utf-8"))
    seconds = {
        (row["network"], row["code"], row["precision"], row["case"], row["threads"]): row["seconds"]
        for row in report["rendering"]
    }
    columns = list(product(precisions, cases, threads))
    columns.sort(key=lambda column: (threads.index(column[2]), column[1]))
    for name, cells in table_rows(heading).items():
        plain, name = "LTE" if "LTE" in name else "LIIF", name.replace("R-", "R")
        times = [
            seconds[plain, "plain", "float32", case, threads]
            / seconds[name, "package", precision, case, threads]
            for precision, case, threads in columns
        ]
        assert cells == [f"{each:.1f}" for each in times]


def test_speed_of_bundled_networks_matches_the_reports():
    report = json.loads((ROOT / "docs/results/benchmark_of_weights.json").read_text(encoding="utf-8"))
    packaged = {
        (row["network"], row["precision"], row["case"]): row
        for row in report["rendering"]
        if row["code"] == "package"
    }
    larger, smaller = "short_MoEISR_LIIF_b", "short_MoEISR_LIIF_s"
    exact, halved = (
        " and ".join(
            f"{packaged[network, precision, '4x96x96']['times_plain_liif_float32']:.0f}"
            for network in (larger, smaller)
        )
        for precision in ("float32", "bfloat16")
    )
    assert f"-b and -s enlarge 96×96 pixels ×4 {exact} times as fast as a LIIF of their size" in PROSE
    assert f"in bfloat16 {halved} times" in PROSE


def test_speed_of_training_with_random_routing_matches_the_reports():
    report = json.loads((ROOT / "docs/results/benchmark_of_training.json").read_text(encoding="utf-8"))
    larger, smaller = (
        f"{row['decoder_times_plain']:.1f}" for row in report["training"] if "random" in row["code"]
    )
    assert f"{larger} and {smaller} times through the mixtures while pixels are dealt at random" in PROSE


def test_speed_of_training_on_a_gpu_matches_the_reports():
    report = json.loads((ROOT / "docs/results/benchmark_on_a_gpu.json").read_text(encoding="utf-8"))
    times = {(row["network"], row["code"]): f"{row['decoder_times_plain']:.1f}" for row in report["training"]}
    liif, larger, smaller = (times[name, "package"] for name in ("LIIF", "MoEISRLIIF-b", "MoEISRLIIF-s"))
    random = [number for (_, code), number in times.items() if "random" in code]
    assert f"are {liif}, {larger} and {smaller} times as fast as through LIIF, MoEISR-LIIF-b and -s" in PROSE
    assert f"float32, and {random[0]} and {random[1]} times through the mixtures" in PROSE


def test_speed_of_a_large_picture_on_a_gpu_matches_the_reports():
    report = json.loads((ROOT / "docs/results/benchmark_on_a_gpu_to_4k.json").read_text(encoding="utf-8"))
    seconds = {(row["network"], row["code"], row["precision"]): row["seconds"] for row in report["rendering"]}
    smaller = seconds["MoEISRLIIF-s", "package", "bfloat16"]
    without = seconds["MoEISRLIIF-s", "package, without kernels", "bfloat16"]
    frames = f"{1e3 * smaller:.0f} ms, encoder included, which makes {1 / smaller:.0f} frames a second"
    assert f"{frames}; without kernels of Triton's {1e3 * without:.0f} ms" in PROSE
    exact, halved = (seconds["LIIF", "plain", each] for each in ("float32", "bfloat16"))
    assert f"takes {exact:.2f} s, and in bfloat16, by autocast, {halved:.2f} s" in PROSE


def test_losses_of_reduced_precision_match_the_reports():
    full = kept_averages("Set5_on_*.json")
    halved = [kept_averages(f"Set5_in_{each}*.json", precision=each) for each in ("bfloat16", "float16")]
    rows = table_rows("dB lost on Set5 in")
    assert {BICUBIC, *rows} == {name for name, _ in halved[0]}
    for name, cells in rows.items():
        lost = [full[name, scale]["psnr"] - half[name, scale]["psnr"] for half in halved for scale in "234"]
        assert cells == [f"{round(psnr, 3) + 0.0:.3f}" for psnr in lost]  # + 0.0 turns -0.0 into 0.0
