"""Reports made from artificial figures."""

import csv
import io
import json
import math

import pytest

from moeisr_plugin.evaluation.report import FILES, as_csv, as_json, as_markdown, averages, write_report
from moeisr_plugin.evaluation.results import Evaluation, Record, Skipped

MIXTURE = {
    "psnr": 30.0,
    "ssim": 0.9,
    "encode_seconds": 0.5,
    "decode_seconds": 1.5,
    "decoder_macs_published": 2_000_000_000,
    "decoder_macs_executed": 500_000_000,
    "share_d2": 0.75,
    "share_d3": 0.25,
}


def record(weights, scale, picture, **figures):
    return Record(weights, "birds", scale, "given", picture, 24, 36, figures)


@pytest.fixture
def evaluation():
    evaluation = Evaluation("birds", "div2k", "cpu", {"a|b": {"file": "a|b.pth"}})
    for scale, psnr in (("2", 28.0), ("2x3.5", math.inf)):
        evaluation.records += [
            record("bicubic", scale, "jay", psnr=psnr, ssim=0.8),
            record("bicubic", scale, "tit", psnr=26.0, ssim=0.6),
        ]
    for scale in ("2", "2x3.5"):
        evaluation.records += [
            record("a|b", scale, "jay", **MIXTURE),
            record("a|b", scale, "tit", **{**MIXTURE, "psnr": 33.0, "share_d2": 0.25, "share_d3": 0.75}),
        ]
    evaluation.skipped = [Skipped("birds", "2", "wren", "nothing but border")]
    evaluation.notes = ["Alpha was dropped."]
    return evaluation


def test_averages_are_grouped_by_scale_and_network(evaluation):
    rows = averages(evaluation)
    assert [(row["scale"], row["weights"]) for row in rows] == [
        ("2", "bicubic"),
        ("2", "a|b"),
        ("2x3.5", "bicubic"),
        ("2x3.5", "a|b"),
    ]
    assert rows[0] == {
        "weights": "bicubic",
        "dataset": "birds",
        "scale": "2",
        "lr": "given",
        "pictures": 2,
        "psnr": 27.0,
        "ssim": pytest.approx(0.7),
    }
    assert rows[1]["psnr"] == 31.5
    assert rows[1]["share_d2"] == 0.5
    assert rows[2]["psnr"] == math.inf


def test_budgets_are_averaged_by_scale_network_and_budget(evaluation):
    for picture, offset in (("jay", 0.0), ("tit", 2.0)):
        evaluation.budgets += [
            record("a|b", "2", picture, budget=budget, psnr=30 + budget + offset, decoder_macs_executed=4)
            for budget in (0.0, 0.5, 1.0)
        ]
    rows = json.loads(as_json(evaluation))["budgets"]
    assert [(row["weights"], row["scale"], row["budget"], row["psnr"]) for row in rows] == [
        ("a|b", "2", 0, 31),
        ("a|b", "2", 0.5, 31.5),
        ("a|b", "2", 1, 32),
    ]
    table = as_markdown(evaluation).partition("Within a budget")[2]
    assert [line.split("|")[4].strip() for line in table.splitlines()[4:7]] == ["0.000", "0.500", "1.000"]


def test_json_contains_everything_and_is_strict(evaluation):
    def refuse(constant):
        raise AssertionError(constant)

    report = json.loads(as_json(evaluation), parse_constant=refuse)
    assert list(report) == [
        "moeisr",
        "dataset",
        "protocol",
        "device",
        "precision",
        "machine",
        "networks",
        "averages",
        "budgets",
        "pictures",
        "skipped",
        "notes",
    ]
    assert report["networks"] == {"a|b": {"file": "a|b.pth"}}
    assert len(report["averages"]) == 4
    assert len(report["pictures"]) == 8
    assert report["pictures"][4] == {
        "weights": "a|b",
        "dataset": "birds",
        "scale": "2",
        "lr": "given",
        "picture": "jay",
        "height": 24,
        "width": 36,
        **MIXTURE,
    }
    assert report["pictures"][2]["psnr"] is None
    assert report["skipped"] == [
        {"dataset": "birds", "scale": "2", "picture": "wren", "reason": "nothing but border"}
    ]
    assert report["notes"] == ["Alpha was dropped."]


def test_csv_has_a_row_per_picture_and_a_column_per_figure(evaluation):
    rows = list(csv.DictReader(io.StringIO(as_csv(evaluation))))
    assert len(rows) == 8
    assert "figures" not in rows[0]
    assert (rows[0]["psnr"], rows[0]["share_d3"]) == ("28.0", "")
    assert (rows[4]["scale"], rows[4]["weights"], rows[4]["share_d3"]) == ("2", "a|b", "0.25")
    assert float(rows[2]["psnr"]) == math.inf


def test_markdown_has_one_aligned_table_and_remarks(evaluation):
    text = as_markdown(evaluation)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.replace("\\|", "¦").split("|")[1:-1]] for line in lines]
    assert cells[0] == [
        "Scale",
        "LR",
        "Weights",
        "Pictures",
        "PSNR",
        "SSIM",
        "Encode s",
        "Decode s",
        "Published GMACs",
        "GMACs",
        "Shares %",
    ]
    assert cells[2] == ["×2", "given", "bicubic", "2", "27.00", "0.7000", "", "", "", "", ""]
    assert cells[3] == [
        "×2", "given", "a¦b", "2", "31.50", "0.9000", "0.500", "1.500", "2", "0.5", "50 / 50"
    ]  # fmt: skip
    assert "Protocol div2k: RGB, clipped but not rounded, without a border as wide as the scale and 6" in text
    assert "- Alpha was dropped.\n- Skipped 1 picture:\n- wren at ×2: nothing but border\n" in text
    assert "Gain" not in text


def test_files_match_the_formatted_texts(evaluation, tmp_path):
    folder = tmp_path / "new" / "folder"
    write_report(evaluation, folder)
    texts = [(folder / name).read_text(encoding="utf-8") for name in FILES]
    assert texts == [as_json(evaluation), as_csv(evaluation), as_markdown(evaluation)]
