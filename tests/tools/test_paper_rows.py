"""Rows for papers hold the numbers of the reports, and reports that do not belong together are refused."""

import importlib
import json
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("rows")


def report(path, dataset, *, precision="float32", protocol="benchmark"):
    averages = [
        {"weights": name, "dataset": dataset, "scale": scale, "lr": "given", "psnr": psnr, "ssim": 0.9}
        for name, psnr in (("bicubic", 30.005), ("my_net", 31.0))
        for scale in ("2", "3.7")
    ]
    content = {"dataset": dataset, "precision": precision, "protocol": protocol, "averages": averages}
    path.write_text(json.dumps(content))
    return path


def test_markdown_and_latex_hold_the_numbers(tool, tmp_path, capsys):
    files = [str(report(tmp_path / f"{name}.json", name)) for name in ("Set5", "Set14")]
    assert tool.main(files) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| my_net | 31.00 | 31.00 | 31.00 | 31.00 |"
    assert tool.main([*files, "--format", "latex", "--ssim", "--digits", "3"]) == 0
    *_, heading, bicubic, mine = capsys.readouterr().out.splitlines()
    assert heading == r"Method & Set5 $\times$2 & Set5 $\times$3.7 & Set14 $\times$2 & Set14 $\times$3.7 \\"
    assert bicubic.startswith("bicubic & 30.005 / 0.9000 & ")
    assert mine.startswith(r"my\_net & 31.000 / 0.9000")


def test_reports_that_differ_in_protocol_or_precision_are_refused(tool, tmp_path, capsys):
    first = report(tmp_path / "first.json", "Set5")
    for other in ({"protocol": "div2k"}, {"precision": "bfloat16"}):
        second = report(tmp_path / "second.json", "Set14", **other)
        with pytest.raises(SystemExit):
            tool.main([str(first), str(second)])
        assert f"the {next(iter(other))} differs" in capsys.readouterr().err
    (tmp_path / "text.json").write_text("[]")
    with pytest.raises(SystemExit):
        tool.main([str(tmp_path / "text.json")])
    assert "not a results.json" in capsys.readouterr().err


def test_grey_pictures_are_stated_with_the_figures_of_bicubic(tool, tmp_path, capsys):
    file = report(tmp_path / "Set14.json", "Set14")
    note = "Grey counts as three equal channels in 1 of 14 HR pictures; by luma that gives 1.32 dB more."
    file.write_text(json.dumps({**json.loads(file.read_text()), "notes": [note]}))
    assert tool.main([str(file), "--format", "latex"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("% Set14: Grey counts as three equal channels in 1 of 14 HR pictures; ")
    assert lines[1].endswith("bicubic at ×2 has 30.00 dB, against 29.91 dB.")
