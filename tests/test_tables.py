"""The paper's tables: how they were transcribed, and what is checked against them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from references import TINY_ENCODER, lively

from moeisr_plugin.archs.implicit_arch import MoEISRLIIF
from moeisr_plugin.checkpoints import save_checkpoint

TOOLS = Path(__file__).parents[1] / "tools"
PUBLISHED = json.loads((TOOLS / "published_tables.json").read_text(encoding="utf-8"))["tables"]


@pytest.fixture
def tables():
    spec = importlib.util.spec_from_file_location("tables", TOOLS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(table, method, key):
    (row,) = [row for row in PUBLISHED[table]["rows"] if row["method"] == method]
    return row[key]


@pytest.mark.parametrize(
    ("table", "rows", "keys"),
    [
        ("1", 19, ["psnr"]),
        ("2", 14, ["psnr"]),
        ("3", 18, ["tflops", "percent"]),
        ("4", 6, ["psnr", "gflops"]),
    ],
)
def test_every_row_has_a_number_per_column(table, rows, keys):
    published = PUBLISHED[table]
    assert len(published["rows"]) == len({row["method"] for row in published["rows"]}) == rows
    for row in published["rows"]:
        assert all(len(row[key]) == len(published["columns"]) for key in keys)


def test_some_published_numbers():
    assert numbers("1", "RDN-MoEISR(LIIF)-b", "psnr") == [
        34.99,
        31.28,
        29.29,
        27.0,
        23.9,
        22.35,
        21.31,
        20.59,
    ]
    assert numbers("2", "SwinIR-MoEISR(LTE)-s", "psnr")[-5:] == [33.52, 29.45, 27.25, 24.66, 23.18]
    assert numbers("2", "RDN", "psnr")[:6] == [38.24, 34.71, 32.47, None, None, 34.01]
    assert numbers("3", "SwinIR-MoEISR(LTE)-b", "tflops")[-1] == 150.16
    assert numbers("4", "LIIF-2layer", "gflops") == [462.74, 461.95, 462.26, 459.58, 461.65]
    assert [row["tflops"] for row in PUBLISHED["5"]["rows"]] == [6.84, 6.43, 6.39, 5.61]


def test_published_shares_follow_from_the_published_flops():
    for row in PUBLISHED["3"]["rows"]:
        encoder, _, decoder = row["method"].partition("-")
        whole = numbers("3", f"{encoder}-{'LIIF' if 'LIIF' in decoder else 'LTE'}", "tflops")
        for part, total, percent in zip(row["tflops"], whole, row["percent"], strict=True):
            # Half a unit in the last digit of each number, a unit of the share: 67.92 is printed as 68.0.
            assert abs(100 * part / total - percent) < 100 * 0.005 * (1 + part / total) / total + 0.1


@pytest.mark.parametrize("table", ["3", "4"])
def test_all_published_flops_agree(table, tables, capsys):
    assert tables.main(["--table", table]) == 0
    printed = capsys.readouterr().out
    cells = sum(len(PUBLISHED[table]["columns"]) for _ in PUBLISHED[table]["rows"])
    assert f"{cells} of {cells} published numbers agree." in printed
    if table == "3":
        assert "| 286.62 (286.62) |" in printed
        assert "| 123.72–286.66 (194.68) |" in printed


def test_a_published_number_that_disagrees_fails(tables, monkeypatch, capsys):
    monkeypatch.setattr(tables, "LAST_DIGIT", 0.001)
    assert tables.main(["--table", "3"]) == 1
    assert "**2.87 (2.86)**" in capsys.readouterr().out


def test_pictures_of_another_size_disagree(tables, photographs, capsys):
    assert tables.main(["--table", "3", "--data", str(photographs)]) == 1
    assert "2 LR pictures" in capsys.readouterr().out


def test_weights_are_routed_on_the_pictures(tables, tmp_path, capsys):
    net = lively(MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6))
    weights = tmp_path / "net.pth"
    save_checkpoint(weights, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    (tmp_path / "lr").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (9, 14, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "lr" / "noise.png")
    method = "EDSR-MoEISR(LIIF)-b"
    arguments = ["--table", "3", "--data", str(tmp_path / "lr"), "--weights", f"{method}={weights}"]
    assert tables.main(arguments) == 1
    (row,) = [line for line in capsys.readouterr().out.splitlines() if f"{method}, as routed" in line]
    assert "–" not in row  # one number, no range


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--weights", "EDSR-LIIF=a.pth"], "need --data"),
        (["--weights", "ESDR-LIIF=a.pth"], "methods are EDSR-LIIF"),
        (["--data", "nowhere"], "nowhere: holds no pictures"),
    ],
)
def test_wrong_arguments_are_refused(arguments, complaint, tables, capsys):
    with pytest.raises(SystemExit) as stopped:
        tables.main(["--table", "3", *arguments])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err
