"""Figures of networks that are published already, and the table in the measure of BasicSR."""

import importlib
import json
from pathlib import Path

import pytest
import yaml
from training_files import write_card, write_experiment, write_results

from moeisr_plugin.publishing.index import read_index, zoo_tables
from moeisr_plugin.publishing.publish import publish

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("zoo")


@pytest.fixture
def zoo(tmp_path):
    """Publish a network with figures by LIIF's protocol. Return the folder and the file of weights."""
    write_experiment(tmp_path / "small_mixture")
    write_card(tmp_path / "card.yml")
    checkpoint = tmp_path / "small_mixture/models/net_g_200.pth"
    results = [write_results(tmp_path / "luma.json", checkpoint, protocol="benchmark")]
    weights, *_ = publish(checkpoint, tmp_path / "zoo", card_file=tmp_path / "card.yml", results=results)
    return tmp_path / "zoo", weights


def test_figures_are_added_to_the_index_and_the_table(tool, zoo, tmp_path):
    folder, weights = zoo
    before = yaml.safe_load((folder / "metafile.yml").read_text())
    files = [write_results(tmp_path / f"{name}.json", weights, dataset=name) for name in ("birds", "boats")]
    assert tool.main([*map(str, files), "--folder", str(folder)]) == 0
    (model,) = yaml.safe_load((folder / "metafile.yml").read_text())["Models"]
    places = [(result["Dataset"], result["Protocol"]) for result in model["Results"]]
    assert places == [("birds", "benchmark"), ("birds", "basicsr"), ("boats", "basicsr")]
    assert {**model, "Results": model["Results"][:1]} == before["Models"][0]
    text = (folder / "ModelZoo.md").read_text()
    assert text == zoo_tables(read_index(folder / "metafile.yml"))
    assert f"| [{weights.stem}]({weights.name}) | 34.2346 / 0.9123 | 31.2346 / 0.9123 |" in text
    assert tool.main([*map(str, files), "--folder", str(folder)]) == 0  # replaces its own figures
    assert (folder / "ModelZoo.md").read_text() == text


def test_reports_of_other_networks_are_refused(tool, zoo, tmp_path, capsys):
    folder, weights = zoo
    before = (folder / "metafile.yml").read_text()
    report = json.loads(write_results(tmp_path / "a.json", weights).read_text())
    report["networks"]["net_g_200"]["sha256"] = "1" * 64
    (tmp_path / "other.json").write_text(json.dumps(report))
    (tmp_path / "list.json").write_text("[]")
    for name, message in (
        ("other", "other.json: holds no network of the index; measure its files"),
        ("list", "list.json: not a results.json of moeisr evaluate"),
    ):
        with pytest.raises(SystemExit):
            tool.main([str(tmp_path / f"{name}.json"), "--folder", str(folder)])
        assert message in capsys.readouterr().err
    assert (folder / "metafile.yml").read_text() == before


def test_the_table_of_the_package_is_that_of_its_index():
    folder = ROOT / "moeisr_plugin/weights"
    assert (folder / "ModelZoo.md").read_text(encoding="utf-8") == zoo_tables(
        read_index(folder / "metafile.yml")
    )
