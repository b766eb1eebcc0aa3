"""The index of the networks of the package has the form that OpenMMLab's tools read."""

from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from training_files import write_card, write_experiment

from moeisr_plugin.publishing.publish import publish

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "moeisr_plugin/weights/metafile.yml"


@pytest.fixture
def content():
    return yaml.safe_load(INDEX.read_text(encoding="utf-8"))


def test_collections_state_readme_code_and_paper(content):
    assert content["Collections"]
    for collection in content["Collections"]:
        assert (INDEX.parent / collection["README"]).is_file()
        assert f"class {collection['Name']}" in (ROOT / collection["Code"]["URL"]).read_text()
        assert collection["Paper"]["URL"].startswith("https://")


def test_mmengine_reads_the_config_of_every_network(content):
    collections = {collection["Name"] for collection in content["Collections"]}
    for model in content["Models"]:
        assert model["In Collection"] in collections
        config = Config.fromfile(ROOT / model["Config"])
        assert config.network_g.type == model["Metadata"]["Architecture"][0]
        assert (INDEX.parent / model["README"]).is_file()
        assert (INDEX.parent / model["Weights"]).is_file()
        for result in model["Results"]:
            assert {"Task", "Dataset", "Metrics"} <= result.keys()


def test_model_index_finds_no_error(tmp_path):
    modelindex = pytest.importorskip("modelindex", reason="model-index is not installed")
    write_card(tmp_path / "card.yml", url="https://example.org/weights")
    write_experiment(tmp_path / "mixture")
    checkpoint = tmp_path / "mixture/models/net_g_200.pth"
    publish(checkpoint, tmp_path / "zoo", card_file=tmp_path / "card.yml")
    for path, models in (
        (INDEX, len(list(INDEX.parent.glob("*.safetensors")))),
        (tmp_path / "zoo/metafile.yml", 1),
    ):
        index = modelindex.load(str(path))
        index.build_models_with_collections()
        assert index.check(silent=True) == []
        assert len(index.models) == models
    (tmp_path / "zoo/ModelZoo.md").unlink()
    assert any("ModelZoo.md" in error for error in modelindex.load(str(path)).check(silent=True))
