"""The tables of the paper: their transcription, and the checks against them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from references import TINY_ENCODER, lively

from moeisr_plugin.archs.implicit_arch import MoEISRLIIF
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.evaluation.evaluate import evaluate

TOOLS = Path(__file__).parents[2] / "tools"
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


def test_samples_of_the_transcribed_numbers():
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
            # Tolerance: half a unit in the last digit of each number, and 0.1 for the share (67.92 is printed
            # as 68.0).
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


def test_disagreeing_published_number_fails(tables, monkeypatch, capsys):
    monkeypatch.setattr(tables, "LAST_DIGIT", 0.001)
    assert tables.main(["--table", "3"]) == 1
    assert "**2.87 (2.86)**" in capsys.readouterr().out


def test_costs_of_pictures_of_another_size_disagree(tables, photographs, capsys):
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
    assert "–" not in row  # a number instead of a range


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "EDSR-LIIF=a.pth"], "--weights: needs --data"),
        (["--weights", "ESDR-LIIF=a.pth"], "this table has 'EDSR-LIIF'"),
        (["--data", "nowhere"], "nowhere: contains no pictures"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, tables, capsys):
    with pytest.raises(SystemExit) as stopped:
        tables.main(["--table", "3", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def trained(tmp_path):
    """Create weights of a mixture, and a folder with a picture."""
    net = lively(MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=4))
    save_checkpoint(tmp_path / "net.pth", {"params": net.state_dict(), "network_g": net.hyper_parameters})
    (tmp_path / "hr").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (120, 140, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "hr" / "noise.png")
    return tmp_path / "net.pth", tmp_path / "hr"


def rows_of(text, title):
    """Return the cells of a printed table by method."""
    lines = text[text.rindex(title) :].split("\n\n")[2].splitlines()
    return {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1:] for line in lines[2:]}


@pytest.mark.parametrize(
    ("number", "method", "data", "column", "scale"),
    [
        ("1", "EDSR-MoEISR(LIIF)-s", "{}", 1, 3),
        ("2", "RDN-MoEISR(LIIF)-b", "Set14={}", 6, 3),
        ("4", "RDN-MoEISR(LIIF)-b", "{}", 1, 3),
        ("5", "MoEISR(LIIF)-b-τ3", "{}", 0, 4),
    ],
)
def test_rows_with_weights_are_measured_and_others_stay_empty(
    tables, trained, capsys, number, method, data, column, scale
):
    weights, folder = trained
    arguments = ["--table", number, "--data", data.format(folder), "--weights", f"{method}={weights}"]
    if number == "4":
        assert tables.main(arguments) in (0, 1)  # 1: the weights have another width than the paper
        title = "PSNR in dB and the decoder's GFLOPs: ours"
    else:
        assert tables.main(arguments) == 0
        title = f"Table {number}."
    rows = rows_of(capsys.readouterr().out, title)
    protocol = "div2k" if number in "15" else "benchmark"
    records = evaluate([weights], folder, [(scale, scale)], protocol=protocol).records
    psnr = {record.weights: record.figures["psnr"] for record in records}
    digits = 4 if number == "5" else 2
    assert rows[method][column].startswith(f"{psnr['net']:.{digits}f} (")
    assert rows["Bicubic"][column].startswith(f"{psnr['bicubic']:.{digits}f} (")
    for other in set(rows) - {method, "Bicubic"}:
        assert all(cell.startswith("– (") for cell in rows[other])


def test_bundled_network_is_found_by_its_name(tables, trained, capsys):
    _, folder = trained
    method, name = "MoEISR(LIIF)-b-τ3", "tiny_MoEISR_LIIF_b"
    assert tables.main(["--table", "5", "--data", str(folder), "--weights", f"{method}={name}"]) == 0
    (record,) = evaluate([name], folder, [(4.0, 4.0)], protocol="div2k").records[1:]
    found = rows_of(capsys.readouterr().out, "Table 5.")[method][0]
    assert found.startswith(f"{record.figures['psnr']:.4f} (")


def test_quality_tables_show_published_numbers(tables, capsys):
    assert tables.main(["--table", "1"]) == 0
    rows = rows_of(capsys.readouterr().out, "Table 1.")
    assert rows["SwinIR-LTE"][2].startswith("– (29.51)")
    assert tables.main(["--table", "2"]) == 0
    assert rows_of(capsys.readouterr().out, "Table 2.")["RDN"][3] == "– (–)"
