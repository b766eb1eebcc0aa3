"""The contribution to BasicSR works in a copy of BasicSR without this package, and equals this package."""

import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from PIL import Image
from references import lively, picture
from skimage import data
from yapf.yapflib.yapf_api import FormatFile

from moeisr_plugin import render
from moeisr_plugin.archs.coordinates import make_coord
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF
from moeisr_plugin.checkpoints.network import network_from, save_checkpoint
from moeisr_plugin.data.grids import Size
from moeisr_plugin.data.resampling import downsample

TOOLS = Path(__file__).parents[2] / "tools"
ARCH = TOOLS / "contribution/templates/liif_arch.py"
NETWORKS = ("tiny_LIIF", "tiny_MoEISR_LIIF_s")
STYLE = (  # of setup.cfg in BasicSR
    "{based_on_style: pep8, column_limit: 120, blank_line_before_nested_class_or_def: true, "
    "split_before_expression_after_opening_paren: true}"
)
LR_SIZE, SCALE = (11, 13), 2.7
ENCODER = {"type": "EDSREncoder", "num_feat": 8, "num_block": 2, "res_scale": 0.5}


@pytest.fixture(scope="module")
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module("upstream")


@pytest.fixture(scope="module")
def arch():
    """The contributed arch file as a module."""
    spec = importlib.util.spec_from_file_location("liif_arch", ARCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("EDSRLIIF", "EDSRMoEISR"):
        ARCH_REGISTRY._obj_map.pop(name)


def enlarged(net, lr, size):
    return render.render(net, render.encode(net, lr), size)


# --- the arch file ---


def test_arch_file_is_short_and_stands_alone():
    text = ARCH.read_text()
    assert len(text.splitlines()) <= 350
    assert max(map(len, text.splitlines())) <= 120
    imported = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
    assert set(imported) == {"torch", "basicsr"}
    assert "moeisr_plugin" not in text


@pytest.mark.parametrize("path", sorted(ARCH.parent.glob("*.py")))
def test_files_are_formatted_as_basicsr_formats(path):
    _, _, changed = FormatFile(str(path), style_config=STYLE)
    assert not changed


@pytest.mark.parametrize(
    ("network", "contributed"),
    [
        (
            LIIF(encoder=ENCODER, hidden_dim=9, depth=3),
            lambda arch: arch.EDSRLIIF(8, 2, 0.5, num_hidden=9, depth=3),
        ),
        (
            MoEISRLIIF(encoder=ENCODER, hidden_dim=9, expert_depths=[2, 4, 5], mapper_depth=2, tau=1.5),
            lambda arch: arch.EDSRMoEISR(8, 2, 0.5, 9, depths=(2, 4, 5), mapper_depth=2, tau=1.5),
        ),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_arch_equals_the_network_of_this_package(arch, network, contributed, training):
    ours, theirs = lively(network), contributed(arch)
    theirs.load_state_dict(ours.state_dict())
    lr, size = picture(2, *LR_SIZE).float(), (27, 41)
    ours.train(training)
    theirs.train(training)
    torch.manual_seed(3)
    if training:
        coord = make_coord(*size).expand(2, -1, -1)
        cell = torch.tensor([2 / size[0], 2 / size[1]]).expand(2, 2)
        wanted = ours(lr, coord, cell).rgb.mT.unflatten(2, size)
    else:
        wanted = enlarged(ours, lr, size)
    torch.manual_seed(3)
    with torch.set_grad_enabled(training):
        found = theirs(lr, size)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_options_describe_the_network(tool):
    for name in ("MoEISR_LIIF_b", *NETWORKS):
        source = tool.read_source(name)
        depths = [expert.depth for expert in source.net.expert_list]
        assert source.options.get("depths", [source.options.get("depth")]) == depths


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            LTE(encoder=ENCODER, hidden_dim=4),
            "is LTE on EDSREncoder; the contribution has LIIF and MoEISRLIIF",
        ),
        (LIIF(encoder={"type": "RDNEncoder"}, hidden_dim=4), "is LIIF on RDNEncoder"),
        (
            LIIF(encoder=ENCODER, hidden_dim=4, unfold=False),
            "unfold is False; the contribution has True only",
        ),
        (MoEISRLIIF(encoder=ENCODER, hidden_dim=4, mapper_kernel_size=5), "mapper_kernel_size is 5"),
        (MoEISRLIIF(encoder=ENCODER, hidden_dim=4, mapper_hidden_dim=5), "mapper_hidden_dim is 5"),
    ],
)
def test_networks_that_the_arch_file_lacks_are_refused(tool, tmp_path, capsys, network, message):
    path = tmp_path / "own.pth"
    save_checkpoint(path, {"params": network.state_dict(), "network_g": network.hyper_parameters})
    with pytest.raises(SystemExit):
        tool.main(["-o", str(tmp_path / "out"), "--weights", str(path)])
    assert f"{path}: {message}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "full"], "-o full: is not empty; give a new folder"),
        (["--weights", "nowhere.pth"], "nowhere.pth: no such file"),
        (["--weights", "tiny_LIIF", "tiny_LIIF"], "two files are named tiny_LIIF; rename one"),
        (["--set", "Set5=nowhere", "--weights", "tiny_LIIF"], "--set Set5=nowhere: give NAME=FOLDER"),
        (["--set", "full", "--weights", "tiny_LIIF"], "--set full: give NAME=FOLDER"),
        (["--set", "Set5=full"], "--set measures networks; give some by --weights"),
        (["--set", "Set5=full", "--weights", "tiny_LIIF"], "full: "),
        (["--basicsr", "full"], "is not BasicSR 1.4.2"),
        (["--basicsr", "nowhere"], "No such file or directory: 'nowhere/version.py'"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(tool, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/version.py").write_text("__version__ = '1.3.0'\n")
    with pytest.raises(SystemExit):
        tool.main(arguments if "-o" in arguments else ["-o", "out", *arguments])
    *_, last = capsys.readouterr().err.splitlines()
    assert message in last
    assert not (tmp_path / "out").exists()


# --- in a copy of BasicSR ---

SCRIPT = """
import sys, types
sys.modules["moeisr_plugin"] = None  # an import of it fails
import torch
try:
    import torchvision
except RuntimeError:  # a build of torchvision whose library does not fit torch
    schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define("torchvision::" + operator, schema)
    import torchvision
from basicsr.archs import build_network
from basicsr.test import test_pipeline
from basicsr.train import train_pipeline
import yaml
import basicsr, pytest
assert basicsr.__file__.startswith(sys.argv[1]), basicsr.__file__
folder, train, test = sys.argv[1], sys.argv[2].split("|"), sys.argv[3].split("|")
sys.argv = ["train.py", *train]
train_pipeline(folder)
sys.argv = ["test.py", *test]
test_pipeline(folder)
lr = torch.load("lr.pt")
for file in ("tiny_LIIF", "tiny_MoEISR_LIIF_s"):
    opt = yaml.safe_load(open(f"options/test/LIIF/test_{file}_x4.yml"))
    opt["network_g"]["upscale"] = 2.7
    net = build_network(opt["network_g"]).eval()
    net.load_state_dict(torch.load(opt["path"]["pretrain_network_g"])["params"])
    with torch.no_grad():
        torch.save(net(lr), f"{file}.pt")
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "tests"]))
"""


def pairs(folder, scale):
    """Write an HR picture of odd multiples of 12, and its LR."""
    hr = data.chelsea()[60:120, 100:184]
    for name, pixels in (("HR", hr), ("LR", downsample(hr, Size(60 // scale, 84 // scale), "matlab"))):
        (folder / name).mkdir(parents=True)
        pixels = pixels if name == "HR" else np.rint(pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name / f"cat{f'x{scale}' * (name == 'LR')}.png")
    return folder / "HR", folder / "LR"


def forced(option_file, *values):
    return "|".join(["-opt", option_file, "--force_yml", "num_gpu=0", *values])


@pytest.fixture(scope="module")
def applied(tool, tmp_path_factory):
    """Apply the contribution to a copy of BasicSR, and run its training, test and tests there."""
    folder = tmp_path_factory.mktemp("basicsr_copy")
    out = folder / "contribution"
    hr, lr = pairs(folder / "x4", 4)
    assert tool.main(["-o", str(out), "--weights", *NETWORKS, "--set", f"Cat={hr}"]) == 0
    installed = Path(str(importlib.util.find_spec("basicsr").origin)).parent  # pyright: ignore
    shutil.copytree(installed, folder / "basicsr", ignore=shutil.ignore_patterns("__pycache__"))
    for patch in sorted((out / "patches").iterdir()):
        subprocess.run(["git", "apply", "--verbose", str(patch)], cwd=folder, check=True, capture_output=True)
    shutil.copytree(out, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("patches"))
    torch.save(picture(1, *LR_SIZE).float(), folder / "lr.pt")
    train = forced(
        "options/train/LIIF/train_EDSRMoEISR_x4.yml",
        "name=try",
        *(f"datasets:{phase}:dataroot_gt={hr}" for phase in ("train", "val")),
        *(f"datasets:{phase}:dataroot_lq={lr}" for phase in ("train", "val")),
        "datasets:train:filename_tmpl={}x4",
        "datasets:val:filename_tmpl={}x4",
        "datasets:train:num_worker_per_gpu=0",
        "datasets:train:batch_size_per_gpu=1",
        "datasets:train:gt_size=20",
        "datasets:train:dataset_enlarge_ratio=2",
        "network_g:num_feat=4",
        "network_g:num_hidden=4",
        "train:total_iter=2",
        "val:val_freq=1",
        "logger:print_freq=1",
        "logger:use_tb_logger=false",
    )
    test = forced(
        "options/test/LIIF/test_tiny_MoEISR_LIIF_s_x4.yml",
        *(f"datasets:test_{number}:dataroot_gt={hr}" for number in (1, 2, 3)),
        *(f"datasets:test_{number}:dataroot_lq={lr}" for number in (1, 2, 3)),
        *(f"datasets:test_{number}:filename_tmpl={{}}x4" for number in (1, 2)),
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder), train, test],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, done.stdout + done.stderr


@pytest.mark.slow
def test_two_iterations_are_trained_without_this_package(applied):
    folder, log = applied
    assert re.search(r"iter: *2, .*l_pix: \d", log)
    weights = torch.load(folder / "experiments/try/models/net_g_latest.pth")
    assert {"params", "params_ema"} == weights.keys()
    assert all(value.isfinite().all() for value in weights["params"].values())


@pytest.mark.slow
def test_outputs_there_equal_those_here(applied):
    folder, _ = applied
    lr = picture(1, *LR_SIZE).float()
    size = tuple(round(side * SCALE) for side in LR_SIZE)
    for name in NETWORKS:
        wanted = enlarged(network_from(name), lr, size)
        torch.testing.assert_close(torch.load(folder / f"{name}.pt"), wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_figures_of_the_rows_are_those_that_basicsr_measures(applied):
    folder, log = applied
    table = (folder / "docs/ModelZoo_rows.md").read_text()
    heading, _, *rows = table.splitlines()
    assert heading.split("|")[2].strip() == "Cat (PSNR/SSIM)"
    assert len(rows) == 6
    (row,) = (
        row for row in rows if row.startswith("| EDSRMoEISR_x4_f32b8h48_CLIC2025-CID22-BSDS500_28k_B8 |")
    )
    measured = log.partition("Testing Set5")[2]
    for metric, value in zip(("psnr", "ssim"), row.split("|")[2].split("/"), strict=True):
        (found,) = set(re.findall(rf"# {metric}: ([\d.]+)", measured))
        assert float(found) == pytest.approx(float(value), abs=2e-4)


@pytest.mark.slow
def test_contributed_tests_passed(applied):
    assert re.search(r"^4 passed", applied[1], re.MULTILINE)
