"""The results page: its numbers match the reports."""

import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from skimage import data

TOOLS = Path(__file__).parents[2] / "tools"
PUBLISHED = json.loads((TOOLS / "published_tables.json").read_text(encoding="utf-8"))
ENCODER = {"type": "EDSREncoder", "num_feat": 32}
DEPTHS = {"MoEISRLIIF": [2, 3, 4, 5], "MoEISRLTE": [2, 3, 4]}
NETWORKS = {
    # type, PSNR above bicubic, executed kMACs per pixel, seconds per megapixel
    "tiny_LIIF-0123abcd": ("LIIF", 1.50, 120.0, 8.0),
    "tiny_MoEISR_LIIF_b": ("MoEISRLIIF", 1.52, 42.0, 4.0),
    "tiny_MoEISR_LIIF_s": ("MoEISRLIIF", 1.47, 9.0, 2.0),
    "tiny_LTE": ("LTE", 1.56, 80.0, 7.0),
    "tiny_MoEISR_LTE_s": ("MoEISRLTE", 1.53, 20.0, 3.0),
}
PIXELS = 6000  # 60 x 100
SCALES = {"2": 33.0, "3.5": 29.0}
PICTURES = ("ape", "bee")


def report(networks=tuple(NETWORKS), dataset="Set5", encoder=ENCODER):
    """Return a report of `moeisr evaluate --routing --budgets 5` with artificial figures."""
    averages, budgets, pictures = [], [], []
    for scale, start in SCALES.items():
        where = {"dataset": dataset, "scale": scale, "lr": "given"}
        for name in ("bicubic", *networks):
            row = {"psnr": start, "ssim": 0.8, "decode_seconds": 0.02e-6 * PIXELS}
            if name != "bicubic":
                row = figures(name, start)
            averages.append({"weights": name, **where, "pictures": 2, **row})
            pictures += [
                {
                    "weights": name,
                    **where,
                    "picture": each,
                    "height": 60,
                    "width": 100,
                    **row,
                    "psnr": row["psnr"] + i,
                }
                for i, each in enumerate(PICTURES)
            ]
            if NETWORKS.get(name, "M")[0].startswith("MoEISR"):
                budgets += [
                    {"weights": name, **where, "pictures": 2, "budget": b, **within(row, b)}
                    for b in (0, 0.25, 0.5, 0.75, 1)
                ]
    return {
        "moeisr": "0.1.0",
        "dataset": dataset,
        "protocol": "benchmark",
        "machine": {"cpu": "Fast CPU", "threads": 1, "torch": "2.13.0"},
        "networks": {name: network(name, encoder) for name in networks},
        "averages": averages,
        "budgets": budgets,
        "pictures": pictures,
    }


def network(name, encoder):
    kind = NETWORKS[name][0]
    options = {"type": kind, "encoder": encoder}
    if kind in DEPTHS:
        options["expert_depths"] = DEPTHS[kind]
    return {"type": kind, "parameters": 1000 + len(name), "network_g": options, "sha256": "0" * 64}


def figures(name, start):
    kind, above, kilo, seconds = NETWORKS[name]
    row = {
        "psnr": start + above,
        "ssim": 0.91,
        "encode_seconds": 0.5e-6 * PIXELS,
        "decode_seconds": (seconds - 0.5) * 1e-6 * PIXELS,
        "decoder_macs_published": 4 * kilo * 1e3 * PIXELS,
        "decoder_macs_executed": kilo * 1e3 * PIXELS,
    }
    if kind not in DEPTHS:
        return row
    depths = DEPTHS[kind]
    row |= {f"share_d{depth}": 1 / len(depths) for depth in depths}
    row |= {"depth_corr": 0.375, "gain": 0.0625}
    row |= {f"only_d{depth}": row["psnr"] - 0.2 + 0.05 * depth for depth in depths}
    return row | {f"only_macs_d{depth}": row["decoder_macs_executed"] * depth / 3.5 for depth in depths}


def within(row, budget):
    share = 0.3 + 1.2 * budget
    return {
        **{key: row[key] * share for key in row if key.startswith("decoder_macs")},
        "psnr": row["psnr"] - 0.12 * (1 - budget) ** 2,
        "encode_seconds": row["encode_seconds"],
        "decode_seconds": row["decode_seconds"] * share,
    }


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def save_images(folder, networks=tuple(NETWORKS), dataset="Set5"):
    """Write pictures as `--save-images` does."""
    for scale in SCALES:
        for name in ("HR", "bicubic", *networks):
            images = folder / "images" / name / f"{dataset}_x{scale}"
            images.mkdir(parents=True, exist_ok=True)
            for number, picture in enumerate(PICTURES):
                top = 80 * number
                Image.fromarray(data.astronaut()[top : top + 160, 100:300]).save(images / f"{picture}.png")
                if NETWORKS.get(name, "?")[0] in DEPTHS:
                    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(
                        images / f"{picture}_experts.png"
                    )


@pytest.fixture(scope="module")
def tool():
    """Import the modules of the tool."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        parts = ("crops", "page", "plots", "reports")
        yield SimpleNamespace(
            main=importlib.import_module("results"),
            **{part: importlib.import_module(f"evidence.{part}") for part in parts},
        )


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "Set5/results.json", report())


def tables(text):
    """Return the rows of each table as dictionaries by heading."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        found.append([dict(zip(head, line, strict=True)) for line in lines])
    return found


@pytest.fixture
def page_of(tool):
    """Return a function that makes the page of reports without figures."""

    def make(*sources, speed=""):
        names = [path.name for path in sources]
        return tool.page.page(tool.reports.read_benchmarks(sources), PUBLISHED, {}, names, speed)

    return make


# --- tables ---


def test_quality_table_shows_reports_differences_and_published_numbers(source, page_of):
    quality, *_ = tables(page_of(source))
    assert [row["Method"] for row in quality[:6]] == [
        "bicubic", "LIIF", "MoEISR-LIIF-b", "MoEISR-LIIF-s", "LTE", "MoEISR-LTE-s",
    ]  # fmt: skip
    assert [row["×2"] for row in quality[:4]] == [
        "33.00 / 0.8000", "34.50 / 0.9100", "34.52 (+0.02) / 0.9100", "34.47 (-0.03) / 0.9100",
    ]  # fmt: skip
    assert quality[5]["×3.5"] == "30.53 (-0.03) / 0.9100"
    assert quality[1]["Parameters"] == "1,018"
    published = {row["method"]: row["psnr"][0] for row in PUBLISHED["tables"]["2"]["rows"]}
    shown = {row["Method"].strip("*").removesuffix(", published"): row["×2"] for row in quality[6:]}
    assert shown == {
        name: f"*{published[name]:.2f}*"
        for name in published
        if name.partition("-")[2] in ("LIIF", "LTE", "MoEISR(LIIF)-s", "MoEISR(LIIF)-b", "MoEISR(LTE)-s")
    }
    assert len(shown) == 10


def test_cost_table_shows_costs_per_pixel_relative_to_the_backbone(source, page_of):
    _, costs, _ = tables(page_of(source))
    rows = {(row["Network"], row["Scale"]): row for row in costs}
    assert rows["LIIF", "×2"]["kMACs as published"] == "480"
    assert rows["MoEISR-LIIF-s", "×3.5"]["kMACs as published"] == "36 (8 %)"
    assert rows["MoEISR-LIIF-s", "×2"]["kMACs as executed"] == "9 (8 %)"
    assert rows["MoEISR-LTE-s", "×2"]["Seconds"] == "3 (43 %)"


def test_routing_table_compares_with_single_experts_and_half_the_macs(source, page_of):
    *_, routing = tables(page_of(source))
    row = next(row for row in routing if row["Network"] == "MoEISR-LIIF-s" and row["Scale"] == "×2")
    assert row["Shares by depth"] == "25 / 25 / 25 / 25 %"
    assert (row["Gain"], row["Correlation"], row["PSNR"]) == ("+0.062", "+0.38", "34.470")
    assert row["Best single"] == "34.420 (3 layers)"  # 4 layers cost 8/7 of the routing
    # Half of the MACs is at 2/3 between budget 0 (0.3 of the MACs) and budget 0.25 (0.6 of the MACs).
    between = -0.12 * (1 + (0.75**2 - 1) * 2 / 3)
    assert row["At half the MACs"] == f"{between:+.3f} dB"


def test_missing_routing_figures_and_budgets_are_shown_as_dashes(tmp_path, page_of):
    content = report(["tiny_LIIF-0123abcd", "tiny_MoEISR_LIIF_s"])
    for row in content["averages"]:
        for key in [key for key in row if key.startswith("only") or key in ("gain", "depth_corr")]:
            del row[key]
    path = write(tmp_path / "results.json", {**content, "budgets": []})
    *_, routing = tables(page_of(path))
    assert {row[name] for row in routing for name in ("Gain", "Best single", "At half the MACs")} == {"–"}


def test_reports_are_grouped_by_encoder(tmp_path, page_of):
    paths = [
        write(tmp_path / "a.json", report(["tiny_LTE"])),
        write(tmp_path / "b.json", report(["tiny_LIIF-0123abcd"])),
        write(tmp_path / "c.json", report(["tiny_LTE"], encoder={"type": "RDNEncoder"})),
    ]
    text = page_of(*paths)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["EDSREncoder (num_feat 32)", "RDNEncoder"]
    assert [row["Method"] for row in tables(text)[0][:3]] == ["bicubic", "LTE", "LIIF"]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (["{"], "0.json: not readable as JSON"),
        (["[]"], "0.json: not a results.json of moeisr evaluate"),
        ([json.dumps({**report(), "precision": "float16"})], "0.json: was measured in float16; give results"),
        (
            [json.dumps(report()).replace("33.0,", "null,")],
            "0.json: bicubic has an infinite PSNR at ×2, which",
        ),
        ([json.dumps(report())] * 2, "1.json: tiny_LIIF-0123abcd on Set5 is also in another"),
        (
            [
                json.dumps(report(["tiny_LTE"])),
                json.dumps(report(["tiny_MoEISR_LTE_s"])).replace("33.0,", "33.5,"),
            ],
            "1.json: was measured on other pictures of Set5",
        ),
        (
            [
                json.dumps(report(["tiny_LTE"])),
                json.dumps(report(["tiny_MoEISR_LTE_s"])).replace('"2"', '"3"'),
            ],
            "tiny_LTE was not measured on Set5 at ×3; measure all networks at the same scales",
        ),
    ],
)
def test_errors_are_reported_in_one_line_and_no_page_is_written(tool, tmp_path, contents, message, capsys):
    paths = [tmp_path / f"{number}.json" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)
    with pytest.raises(SystemExit):
        tool.main.main([*map(str, paths), "-o", str(tmp_path / "out")])
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_unknown_picture_is_refused(tool, source, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tool.main.main([str(source), "--pictures", "ape", "cow", "-o", str(tmp_path / "out")])
    assert "--pictures cow: not found in the reports" in capsys.readouterr().err.splitlines()[-1]


def test_links_to_figures_escape_spaces(tool, tmp_path):
    source = write(tmp_path / "results.json", report(dataset="My set"))
    files = tool.main.make(tool.reports.read_benchmarks([source]), [source.name])
    assert "](1_My%20set_psnr_macs.png)" in files["README.md"].decode()
    assert "1_My set_psnr_macs.png" in files


def test_interpolation_is_linear_and_never_extrapolates(tool):
    points = [(4.0, 10.0), (1.0, 1.0), (2.0, 4.0)]
    assert tool.reports.interpolated(3.0, points) == 7.0
    assert tool.reports.interpolated(1.0, points) == 1.0
    assert tool.reports.interpolated(0.5, points) is None
    assert tool.reports.interpolated(5.0, points) is None


# --- figures ---


def test_plots_show_bicubic_networks_and_budgets(tool, source):
    [benchmark] = tool.reports.read_benchmarks([source])
    for cost, axis in ((tool.plots.macs(benchmark), 9.0), (tool.plots.seconds(benchmark), 2.0)):
        axes = tool.plots.plot(benchmark, cost).axes
        assert [each.get_title() for each in axes] == ["Set5 ×2", "Set5 ×3.5", "", ""]
        labels = {text.get_text(): text for text in axes[0].texts}
        assert set(labels) == {"LIIF", "MoEISR-LIIF-b", "MoEISR-LIIF-s", "LTE", "MoEISR-LTE-s"}
        assert len({text.get_color() for text in labels.values()}) == len(labels)
        [bicubic] = axes[2].texts
        assert bicubic.get_text().startswith("bicubic, 33.00 dB")
        assert labels["MoEISR-LIIF-s"].xy == (pytest.approx(axis), 34.47)
        curves = [line for line in axes[0].lines if len(line.get_xdata()) == 5]
        assert len(curves) == 3
        wanted = [34.47 - 0.12 * (1 - budget) ** 2 for budget in (0, 0.25, 0.5, 0.75, 1)]
        assert any(np.allclose(np.asarray(line.get_ydata()), wanted) for line in curves)


def test_crop_shows_the_window_with_the_most_detail(tool):
    grey = np.full((70, 90, 3), 128, np.uint8)
    grey[40:60:2, 50:70] = 0
    left, top, right, bottom = tool.crops.most_detailed(Image.fromarray(grey), 30)
    assert (right - left, bottom - top) == (30, 30)
    assert left <= 50
    assert top <= 40
    assert right >= 70
    assert bottom >= 60


def test_page_shows_crops_and_expert_maps_of_the_requested_pictures(tool, source, tmp_path, capsys):
    save_images(source.parent)
    out = tmp_path / "page"
    out.mkdir()
    (out / "9_Set5_crops.jpg").write_bytes(b"an obsolete figure")
    (out / "notes.txt").write_bytes(b"another file")
    assert tool.main.main([str(source), "-o", str(out), "--pictures", "bee"]) == 0
    names = {path.name for path in out.iterdir()}
    figures = {f"1_Set5_{end}" for end in ("psnr_macs.png", "psnr_seconds.png", "crops.jpg", "experts.jpg")}
    assert names == {"README.md", "Set5.json", "notes.txt", *figures}
    assert (out / "Set5.json").read_bytes() == source.read_bytes()
    text = (out / "README.md").read_text()
    assert set(re.findall(r"!\[.+\]\((.+)\)", text)) == figures
    assert "Made from [Set5.json](Set5.json)." in text
    assert str(tmp_path) not in text
    crops = Image.open(out / "1_Set5_crops.jpg")
    assert crops.width == 10 * (208 + 8) - 8  # the original, six methods, three expert maps
    assert sum(path.stat().st_size for path in out.iterdir()) < 400_000
    assert "6 files" in capsys.readouterr().out


def test_reports_with_equal_names_are_refused(tool, source, tmp_path):
    (tmp_path / "other").mkdir()
    twin = write(tmp_path / "other/Set5/results.json", report())
    named = write(tmp_path / "other/kept.json", report())
    assert tool.main.kept_names([source, named]) == {"Set5.json": source, "kept.json": named}
    with pytest.raises(
        ValueError, match=r"other/Set5/results\.json: would be copied to Set5\.json like .+Set5/res"
    ):
        tool.main.kept_names([source, twin])


def test_page_is_reproducible(tool, source):
    content = report(["tiny_LIIF-0123abcd"])
    for key in ("averages", "pictures"):
        content[key] = [row for row in content[key] if row["scale"] == "2"]
    write(source, content)
    files = [tool.main.make(tool.reports.read_benchmarks([source]), [source.name]) for _ in range(2)]
    assert files[0] == files[1]


def test_speed_section_shows_the_benchmark(tool, source, tmp_path, page_of):
    row = {
        "case": "4x96x96",
        "threads": 1,
        "network": "LIIF",
        "code": "ours",
        "precision": "float32",
        "seconds": 1.25,
    }
    benchmark = {
        "machine": {"cpu": "Fast CPU", "cpu_flags": [], "torch": "2.13.0"},
        "gemm": [{"precision": "float32", "threads": 1, "macs_per_second": 5e10}],
        "weights": [],
        "encoder": "EDSR",
        "repeats": 3,
        "rendering": [row],
        "training": [],
        "iterations": [],
        "budgets": [],
    }
    path = write(tmp_path / "benchmark.json", benchmark)
    text = page_of(source, speed=tool.main.speed_section(path))
    assert "\n## Speed\n" in text
    assert tables(text)[-1][0]["Seconds"] == "1.25"
    with pytest.raises(ValueError, match=r"results.json: not a benchmark.json of tools/benchmark.py"):
        tool.main.speed_section(source)
