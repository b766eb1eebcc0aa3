"""The front of the benchmark: who is on it, its figures on pictures, its plot, and its options."""

import importlib
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from references import TINY_ENCODER, lively

from moeisr_plugin.archs.implicit_arch import LIIF, MoEISRLIIF
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.evaluation.evaluate import evaluate

CORES = os.cpu_count() or 1
TOOLS = str(Path(__file__).parents[2] / "tools")


@pytest.fixture(scope="module")
def tool():
    """Import the modules of the front."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        parts = ("entries", "front", "front_command", "front_report", "shared_folder")
        yield SimpleNamespace(
            main=importlib.import_module("benchmark"),
            illustration=importlib.import_module("illustration.front"),
            **{part: importlib.import_module(f"benchmarking.{part}") for part in parts},
        )


def row(name, seconds, psnr, *, code="package", budget=None, precision="float32"):
    """Return a row with two pictures, of which the second takes twice as long."""
    pictures = [
        {"picture": "a", "height": 500, "width": 1000, "cpu_seconds": seconds / 3, "wall_seconds": seconds},
        {"picture": "b", "height": 500, "width": 1000, "cpu_seconds": seconds / 1.5, "wall_seconds": seconds},
    ]
    return {
        "network": name,
        "code": code,
        "precision": precision,
        "budget": budget,
        "ours": code == "package",
        "psnr": psnr,
        "psnr_is": None if psnr is None else "measured",
        "cpu_seconds_per_megapixel": seconds,
        "wall_seconds_per_megapixel": 2 * seconds,
        "pictures": pictures,
    }


ROWS = [
    row("bicubic", 0.01, 28.4, code="torch"),
    row("m", 2, 32.1),
    row("m", 1, 32, budget=0.0),
    row("m", 3, 32.2, budget=1.0),
    row("m", 1.5, 32.05, precision="bfloat16"),
    row("EDSR", 4, None, code="BasicSR"),
    row("EDSR", 1.9, None, code="BasicSR", precision="bfloat16"),
    row("LIIF", 20, 32.3, code="plain"),
    row("fast", 0.5, 31, code="someone/fast"),
]


def test_the_front_holds_what_none_beats(tool):
    points = [(1, 30.0), (2, 31.0), (2, 30.5), (3, 31.0), (0.5, None), (0.5, 29.0), (0.5, 29.0), (9, 40.0)]
    expected = [True, True, False, False, False, True, True, True]
    assert tool.front_report.on_the_front(points) == expected


def test_ratios_to_edsr_are_of_the_time_on_each_picture(tool):
    rows = [row("EDSR", 4, None, code="BasicSR"), row("m", 3, 32.1), row("m", 1, 32, budget=0.0)]
    rows[1]["pictures"][1]["cpu_seconds"] = 4
    (found,) = tool.front_report.beside_edsr(rows, "cpu")
    assert found["network"] == "m"
    assert found["pictures"] == {"a": pytest.approx(3 / 4), "b": pytest.approx(4 / (4 / 1.5))}
    assert found["largest"] == pytest.approx(1.5)


def test_the_clock_is_that_of_the_cpu_for_one_thread(tool):
    one, two = (tool.front_report.finish(ROWS, count, {}) for count in (1, 2))
    assert (one["clock"], two["clock"]) == ("cpu", "wall")
    assert one["entries"][1]["seconds_per_megapixel"] == 2
    assert two["entries"][1]["seconds_per_megapixel"] == 4


def test_a_published_psnr_is_stated_as_such_and_counts(tool):
    found = tool.front_report.finish(ROWS, 1, {"EDSR": 33.0})
    assert [each["psnr_is"] for each in found["entries"][5:7]] == ["published", None]
    assert found["others_on_front"] == ["fast (someone/fast)", "EDSR (BasicSR)"]
    report = {"machine": {"cpu": "C", "torch": "2"}, "threads": 1, "dataset": "Set", "scale": 4.0}
    report |= {"repeats": 3, "left_out": ["int8: no VNNI"], **found}
    page = tool.front_report.markdown(report)
    assert "| EDSR | BasicSR | float32 | – | 4 | 8 | 33.00, as published |" in page
    assert "| EDSR | BasicSR | bfloat16 | – | 1.9 | 3.8 | not measured |" in page
    assert "the front holds also fast (someone/fast), EDSR (BasicSR)." in page
    assert "Left out: int8: no VNNI." in page
    for name in ("typo", "m"):
        with pytest.raises(ValueError, match=f"--published {name}: no network of this name lacks a PSNR"):
            tool.front_report.finish(ROWS, 1, {name: 33.0})


def test_others_outside_the_range_do_not_count(tool):
    rows = [each for each in ROWS if each["network"] != "fast"]
    found = tool.front_report.finish(rows, 1, {})
    assert [each["network"] for each in found["entries"] if each["on_front"]] == ["bicubic", *"mmmm", "LIIF"]
    assert found["others_on_front"] == []


def test_the_plot_is_white_and_differs_with_its_figures(tool):
    report = {"threads": 1, "dataset": "Set", "scale": 4.0, **tool.front_report.finish(ROWS, 1, {})}
    content = tool.illustration.plot(report)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (1000, 700)
        assert picture.mode == "P"
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    other = {**report, **tool.front_report.finish(ROWS[:-1], 1, {"EDSR": 32.0})}
    assert tool.illustration.plot(other) != content


@pytest.mark.parametrize("has", [True, False])
def test_precisions_without_instructions_are_left_out_with_a_line(has, tool, monkeypatch):
    for name in ("_is_mkldnn_bf16_supported", "_is_mkldnn_fp16_supported"):
        monkeypatch.setattr(torch.ops.mkldnn, name, lambda: has)
    reason = None if has else "this CPU lacks AVX-512 VNNI"
    monkeypatch.setattr(tool.front_command, "int8_obstacle", lambda device: reason)
    every = ["float32", "bfloat16", "float16", "int8"]
    precisions, left_out = tool.front_command.usable_precisions(None)
    assert precisions == (every if has else ["float32"])
    assert [line.partition(":")[0] for line in left_out] == ([] if has else every[1:])
    precisions, left_out = tool.front_command.usable_precisions(every)
    assert precisions == (every if has else every[:3])
    assert left_out == ([] if has else ["int8: this CPU lacks AVX-512 VNNI"])


@pytest.fixture(scope="module")
def run(tool, tmp_path_factory, photographs):
    """Run a small front at two budgets. Return the report, the folder and the weights."""
    folder = tmp_path_factory.mktemp("front")
    mixture = lively(MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6), seed=3)
    weights = folder / "mixture.pth"
    save_checkpoint(weights, {"params": mixture.state_dict(), "network_g": mixture.hyper_parameters})
    torch.manual_seed(0)
    published = folder / "published.pth"
    torch.save(published_liif(LIIF(encoder=TINY_ENCODER, hidden_dim=8)), published)
    options = ["--front", "--pictures", str(photographs), "--weights", str(weights), "--liif", str(published)]
    options += ["--budgets", "2", "--repeats", "2", "--precisions", "float32", "-o", str(folder / "out")]
    assert tool.main.main([*options, "--published", "EDSR=32.1"]) == 0
    report = json.loads((folder / "out/front.json").read_text(encoding="utf-8"))
    return report, folder, weights


def published_liif(net):
    """Return a LIIF on EDSR in the format of the published code."""
    args = {
        "encoder_spec": {
            "name": "edsr-baseline",
            "args": {"no_upsampling": True, "n_feats": 4, "n_resblocks": 1},
        },
        "imnet_spec": {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [8] * 4}},
    }
    weights = {key.replace("experts.0.", "imnet."): value for key, value in net.state_dict().items()}
    return {"model": {"name": "liif", "args": args, "sd": weights}}


@pytest.mark.slow
def test_a_front_has_the_psnr_of_an_evaluation(run, photographs):
    report, _, weights = run
    found = {(each["network"], each["code"], each["budget"]): each for each in report["entries"]}
    assert list(found) == [
        ("bicubic", "torch", None),
        ("mixture", "package", None),
        ("mixture", "package", 0.0),
        ("mixture", "package", 1.0),
        ("EDSR", "BasicSR", None),
        ("LIIF", "plain", None),
        ("LIIF", "package", None),
    ]
    evaluation = evaluate([weights], photographs, [(4, 4)], budgets=2)
    for name, budget, records in (
        ("bicubic", None, [each for each in evaluation.records if each.weights == "bicubic"]),
        ("mixture", None, [each for each in evaluation.records if each.weights == "mixture"]),
        ("mixture", 0.0, [each for each in evaluation.budgets if each.figures["budget"] == 0]),
        ("mixture", 1.0, [each for each in evaluation.budgets if each.figures["budget"] == 1]),
    ):
        each = found[name, "torch" if name == "bicubic" else "package", budget]
        psnrs = [record.figures["psnr"] for record in records]
        assert [picture["psnr"] for picture in each["pictures"]] == pytest.approx(psnrs, abs=1e-4)
        assert each["psnr"] == pytest.approx(sum(psnrs) / 2, abs=1e-4)
    plain, folded = (found["LIIF", code, None]["psnr"] for code in ("plain", "package"))
    assert plain == pytest.approx(folded, abs=1e-3)
    assert found["EDSR", "BasicSR", None]["psnr_is"] == "published"


@pytest.mark.slow
def test_seconds_are_per_megapixel_of_the_pictures(run):
    report, *_ = run
    for each in report["entries"]:
        assert [picture["picture"] for picture in each["pictures"]] == ["astronaut", "chelsea"]
        megapixels = sum(picture["height"] * picture["width"] for picture in each["pictures"]) / 1e6
        assert megapixels == pytest.approx((100 * 108 + 108 * 96) / 1e6)
        for clock in ("cpu", "wall"):
            seconds = sum(picture[f"{clock}_seconds"] for picture in each["pictures"])
            assert each[f"{clock}_seconds_per_megapixel"] == pytest.approx(seconds / megapixels)
        assert each["seconds_per_megapixel"] == each["cpu_seconds_per_megapixel"] > 0
    assert [each["network"] for each in report["beside_edsr"]] == ["mixture", "LIIF"]
    assert report["files"] == ["mixture.pth", "published.pth"]


@pytest.mark.slow
def test_a_front_is_written_as_table_and_plot_without_paths(run):
    _, folder, _ = run
    assert {path.name for path in (folder / "out").iterdir()} == {"front.json", "front.md", "front.png"}
    page = (folder / "out/front.md").read_text(encoding="utf-8")
    assert "| mixture | package | float32 | 0.00 |" in page
    assert str(folder) not in page + (folder / "out/front.json").read_text(encoding="utf-8")


def test_the_minimum_of_alternating_repeats_counts(tool, photographs, monkeypatch):
    order = []
    seconds = iter([5, 4, 3, 7, 2, 9])

    def fake(entry, lr, size):
        order.append(entry.contender.name)
        return (cpu := next(seconds)), 10 * cpu

    monkeypatch.setattr(tool.front, "seconds_of", fake)
    bicubic = tool.entries.entries([], [], 0, 2, torch.device("cpu"), tool.entries.Peers(edsr=False), 1)[0]
    other = tool.entries.Entry(
        tool.entries.Contender(
            "other", "code", "float32", lambda lr: lr, bicubic.contender.decode, bicubic.contender.context
        ),
        trained=False,
    )
    test_set = tool.front_command.ScaledSet(photographs, (2.0, 2.0), "auto")
    rows = next(tool.front.measure_front([bicubic, other], test_set, 3))
    assert order == ["bicubic", "other", "other", "bicubic", "bicubic", "other"]
    assert [each["pictures"][0]["cpu_seconds"] for each in rows] == [2, 3]
    assert [each["pictures"][0]["wall_seconds"] for each in rows] == [20, 30]
    assert rows[1]["psnr"] is None
    assert rows[0]["psnr"] > 15


def test_the_ratio_of_processes_is_that_of_the_fastest_runs(tool, tmp_path, monkeypatch, capsys):
    runs = []
    seconds = iter([10.0, 6.0, 5.0, 8.0])

    def fake(folder, network, scale, count):
        runs.append((folder.name, network, scale, count))
        return next(seconds)

    monkeypatch.setattr(tool.shared_folder, "_seconds", fake)
    monkeypatch.setattr(tool.shared_folder, "usable_cores", lambda: 2)
    options = [
        "--processes",
        "2",
        "--pictures",
        "photos",
        "--weights",
        "n.pth",
        "--scale",
        "3",
        "--repeats",
        "2",
    ]
    assert tool.main.main([*options, "-o", str(tmp_path)]) == 0
    assert runs == [("photos", "n.pth", 3.0, count) for count in (1, 2, 2, 1)]
    (found,) = json.loads((tmp_path / "processes.json").read_text(encoding="utf-8"))["rows"]
    assert found["ratio"] == 5 / 8
    assert "one process 8.00 s, 2 processes 5.00 s, ratio 0.62" in capsys.readouterr().out


@pytest.mark.slow
def test_processes_enlarge_the_folder_or_say_why_not(tool, photographs):
    assert tool.shared_folder._seconds(photographs, "tiny_LIIF", 1.5, 2) > 0
    with pytest.raises(ValueError, match=r"moeisr upscale failed: .*no such file of weights"):
        tool.shared_folder._seconds(photographs, "nowhere.pth", 1.5, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--front", "--front: needs --pictures FOLDER"),
        ("--front --pictures . --threads 1 2", "--front: needs one number of --threads"),
        ("--front --pictures . --precisions tf32", "--precisions tf32: needs a GPU"),
        ("--front --pictures . --device cuda", "--front: measures on a CPU; omit --device"),
        ("--front --pictures . --scale 3 --beside-pcsr .", "its networks are for ×4"),
        ("--front --pictures . --lmf-weights a.pth", "--lmf-weights: needs --beside-lmf DIR"),
        ("--front --pictures . --scale 0.5", "'0.5' is not a scale of at least 1"),
        ("--front --pictures . --published EDSR", "'EDSR': give NAME=DB, as EDSR=32"),
        ("--front --processes 2 --pictures .", "--front and --processes: are two measurements"),
        ("--processes 2 --weights a.pth", "--processes: needs --pictures FOLDER and --weights"),
        ("--processes 1", "'1' is not a whole number of at least 2"),
        (
            f"--processes {2 * CORES} --pictures . --weights a.pth",
            "give fewer, or more cores",
        ),
    ],
)
def test_wrong_options_of_a_front_are_refused(arguments, message, tool, capsys):
    with pytest.raises(SystemExit) as stopped:
        tool.main.main(arguments.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
