"""`moeisr evaluate --pictures`: pictures of other methods in the same table."""

import json

import numpy as np
import pytest
from basicsr.archs import build_network
from basicsr.metrics import calculate_psnr, calculate_ssim
from picture_files import noise, write_folder
from PIL import Image
from references import TINY_ENCODER, lively

from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.cli import main
from moeisr_plugin.evaluation.evaluate import evaluate

NAMES = ("baby", "bird")
HR = {name: noise(48, 61, seed=seed) for seed, name in enumerate(NAMES)}


def output(name, scale, change=0):
    """Return what a method made of a picture: its HR with noise, cropped to the scale."""
    height, width = (round(int(n // scale + 1e-9) * scale) for n in (48, 61))
    error = noise(48, 61, seed=7).astype(int) // 12
    return (HR[name] + error + change).clip(0, 255).astype(np.uint8)[:height, :width]


@pytest.fixture
def test_set(tmp_path):
    write_folder(tmp_path / "Birds", {f"{name}.png": picture for name, picture in HR.items()})
    return tmp_path / "Birds"


@pytest.fixture
def weights(tmp_path):
    net = lively(build_network({"type": "LIIF", "encoder": TINY_ENCODER, "hidden_dim": 8}))
    save_checkpoint(tmp_path / "net.pth", {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return tmp_path / "net.pth"


LAYOUTS = {
    "folders of scales": "x{scale}/{name}.png",
    "names with the scale and the method": "X{scale}/{name}x{scale}_EDSR.png",
    "as --save-images writes them": "Birds_x{scale}/{name}.png",
    "by data set": "Birds/x{scale}/{name}.png",
    "by scale and data set": "x{scale}/Birds/{name}_EDSR.png",
    "with a prefix": "x{scale}/sr_{name}.png",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_of_several_scales_are_found_and_measured(test_set, tmp_path, layout):
    scales = (2, 3.7)
    files = {LAYOUTS[layout].format(scale=s, name=n): output(n, s) for s in scales for n in NAMES}
    write_folder(tmp_path / "edsr", files)
    evaluation = evaluate(
        [], test_set, [(s, s) for s in scales], protocol="basicsr", pictures={"EDSR": tmp_path / "edsr"}
    )
    found = [record for record in evaluation.records if record.weights == "EDSR"]
    assert [(record.scale, record.picture) for record in found] == [
        (f"{s:g}", n) for s in scales for n in NAMES
    ]
    for record in found:
        scale = float(record.scale)
        sr = output(record.picture, scale)
        hr = HR[record.picture][: sr.shape[0], : sr.shape[1]]
        border = int(np.ceil(scale))
        assert record.figures == {
            "psnr": pytest.approx(calculate_psnr(sr, hr, crop_border=border), abs=1e-6),
            "ssim": pytest.approx(calculate_ssim(sr, hr, crop_border=border), abs=1e-6),
        }


def test_scales_per_axis_are_told_apart(test_set, tmp_path):
    for folder, scale in (("x2x3", (3, 2)), ("x3x2", (2, 3)), ("X1.50_X2.00", (1.5, 2))):
        size = [round(int(n // s + 1e-9) * s) for n, s in zip((48, 61), scale, strict=True)]
        write_folder(tmp_path / "m" / folder, {f"{n}.png": HR[n][: size[0], : size[1]] for n in NAMES})
    scales = [(3, 2), (2, 3), (1.5, 2)]
    evaluation = evaluate([], test_set, scales, pictures={"m": tmp_path / "m"})
    psnrs = [record.figures["psnr"] for record in evaluation.records if record.weights == "m"]
    assert psnrs == [float("inf")] * 6


def test_table_holds_networks_and_several_methods(test_set, weights, tmp_path, capsys):
    for number, name in enumerate(("EDSR", "RCAN")):
        write_folder(tmp_path / name, {f"{n}.png": output(n, 2, change=3 * number) for n in NAMES})
    command = ["evaluate", "--data", str(test_set), "--scales", "2", "--weights", str(weights)]
    command += ["--pictures", f"EDSR={tmp_path / 'EDSR'}", "--pictures", f"RCAN={tmp_path / 'RCAN'}"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    table = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    weights_column = table[0].index(next(cell for cell in table[0] if "Weights" in cell))
    assert [row[weights_column].strip() for row in table[2:]] == ["bicubic", "EDSR", "RCAN", "net"]
    report = json.loads((tmp_path / "out/results.json").read_text())
    assert report["others"] == ["EDSR", "RCAN"]
    assert list(report["networks"]) == ["net"]
    assert str(tmp_path) not in json.dumps(report)
    note = "Pictures of EDSR, RCAN are measured as saved; those of networks are not rounded."
    assert report["notes"] == [note]
    psnrs = {row["weights"]: row["psnr"] for row in report["averages"]}
    assert psnrs["EDSR"] > psnrs["RCAN"]


def test_grey_pictures_count_as_rgb(test_set, tmp_path):
    (tmp_path / "grey").mkdir()
    for name in NAMES:
        Image.fromarray(output(name, 2)).convert("L").save(tmp_path / "grey" / f"{name}.png")
    write_folder(
        tmp_path / "rgb",
        {f"{n}.png": np.asarray(Image.open(tmp_path / f"grey/{n}.png").convert("RGB")) for n in NAMES},
    )
    folders = {name: tmp_path / name for name in ("grey", "rgb")}
    records = evaluate([], test_set, [(2, 2)], pictures=folders).records
    grey, rgb = ([r.figures for r in records if r.weights == name] for name in folders)
    assert grey == rgb


WRONG = {
    "a missing picture": (
        {"x2/baby.png": (48, 60), "x3/baby.png": (48, 60), "x3/bird.png": (48, 60)},
        r"x2: has no picture bird, of Birds at ×2 \(1 of 2 are missing\); add it, or omit the scale",
    ),
    "a missing scale": (
        {"x2/baby.png": (48, 60), "x2/bird.png": (48, 60)},
        r"m: holds no pictures of Birds at ×3; put them into a folder x3, or omit the scale",
    ),
    "pictures without a scale": (
        {"baby.png": (48, 60), "bird.png": (48, 60)},
        r"m: holds no pictures of Birds at ×2; put them into a folder x2, or omit the scale",
    ),
    "another size": (
        {f"x{s}/{n}.png": (48, 61 if n == "bird" else 60) for s in (2, 3) for n in NAMES},
        r"x2/bird\.png: has 61x48 pixels, but the HR at ×2 has 60x48; enlarge the LR of this scale",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_pictures_are_named_in_one_line(test_set, tmp_path, case, capsys):
    files, message = WRONG[case]
    write_folder(tmp_path / "m", {name: noise(*size) for name, size in files.items()})
    with pytest.raises(ValueError, match=message):
        evaluate([], test_set, [(2, 2), (3, 3)], pictures={"m": tmp_path / "m"})
    command = ["evaluate", "--data", str(test_set), "--scales", "2", "3", "--pictures", f"m={tmp_path / 'm'}"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing to measure; add --weights FILE or --pictures NAME=FOLDER"),
        (["m=m", "m=m"], "--pictures m: given twice; give each method a name of its own"),
        (["bicubic=m"], "pictures: the name bicubic is taken; choose another one"),
        (["m=nowhere"], "nowhere: no such folder; name a folder of enlarged pictures"),
    ],
)
def test_wrong_arguments_are_refused(test_set, tmp_path, given, message, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "m", {f"{name}.png": output(name, 2) for name in NAMES})
    pictures = [word for each in given for word in ("--pictures", each)]
    assert main(["evaluate", "--data", str(test_set), "--scales", "2", *pictures]) == 2
    assert message in capsys.readouterr().err


def test_a_name_without_a_folder_is_refused(test_set, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--data", str(test_set), "--pictures", "results/EDSR"])
    assert "results/EDSR: is not NAME=FOLDER, such as EDSR=results/EDSR" in capsys.readouterr().err
