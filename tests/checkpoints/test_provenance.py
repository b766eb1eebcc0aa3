"""A network says what it was started from, with data and licences, in checkpoint, card and index."""

import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.models import build_model
from references import TINY_ENCODER, lively
from tiny_trainings import options
from training_files import CARD, NETWORK, write_card, write_experiment

from moeisr_plugin.checkpoints.bundled import bundled_weights
from moeisr_plugin.checkpoints.network import read_checkpoint, save_checkpoint
from moeisr_plugin.checkpoints.provenance import PUBLISHED, STARTED, TEACHER, ancestors, starting_point
from moeisr_plugin.options.starting import with_network_from
from moeisr_plugin.publishing.publish import publish
from moeisr_plugin.utils.hashing import sha256_of


def checkpoint_of(options, **more):
    net = lively(build_network(options))
    return {"params": net.state_dict(), "network_g": net.hyper_parameters, **more}


def test_bundled_weights_are_described_by_their_index():
    path = bundled_weights()["tiny_LIIF"]
    source = starting_point(path)
    assert source["name"] == "tiny_LIIF"
    assert source["sha256"] == sha256_of(path)
    assert (source["network"], source["iterations"]) == ("LIIF", 25000)
    assert {data["name"]: data["licence"] for data in source["training_data"]} == {
        "CLIC 2025, validation and final-test photographs, halved": "Unsplash licence",
        "CID22, training split, 512×512": "CC BY-SA 4.0",
        "BSDS500, training and test splits": "research use",
    }
    assert source["licence"]


def test_a_file_of_unknown_source_is_described_by_its_name_and_hash(tmp_path):
    save_checkpoint(tmp_path / "net.pth", {"params": {}})
    source = starting_point(tmp_path / "net.pth", part="network_g.encoder")
    assert source == {
        "part": "network_g.encoder",
        "file": "net.pth",
        "sha256": sha256_of(tmp_path / "net.pth"),
    }


def train(opt, root):
    model = build_model(opt)
    model.save_network([model.net_g, model.net_g_ema], "net_g", 7, param_key=["params", "params_ema"])
    return read_checkpoint(root / "net_g_7.pth")


def test_a_training_names_its_start_and_keeps_it_when_resumed(tmp_path, photographs):
    opt = options(photographs, tmp_path)
    parent = {"part": "network_g", "file": "old.pth", "sha256": "00", "licence": "CC0"}
    save_checkpoint(tmp_path / "start.pth", checkpoint_of(opt["network_g"], iter=42, **{STARTED: [parent]}))
    opt["path"]["pretrain_network_g"] = str(tmp_path / "start.pth")
    saved = train(opt, tmp_path)
    assert [source["file"] for source in ancestors(saved[STARTED])] == ["start.pth", "old.pth"]
    assert saved[STARTED][0]["iterations"] == 42
    resumed = options(photographs, tmp_path)
    resumed["path"] |= {"pretrain_network_g": str(tmp_path / "net_g_7.pth"), "resume_state": "7.state"}
    assert train(resumed, tmp_path)[STARTED] == saved[STARTED]


def test_the_teacher_is_named_and_kept_and_a_later_one_is_added(tmp_path, photographs):
    opt = options(photographs, tmp_path)
    for name in ("first.pth", "second.pth"):
        save_checkpoint(
            tmp_path / name, checkpoint_of(opt["network_g"], iter=5, note=torch.tensor(len(name)))
        )

    def distilling(teacher, **path):
        opt = options(photographs, tmp_path, distillation_opt={"type": "L1Loss", "teacher": teacher})
        opt["path"] |= path
        return train(opt, tmp_path)[STARTED]

    first = {
        "part": TEACHER,
        "file": "first.pth",
        "sha256": sha256_of(tmp_path / "first.pth"),
        "network": "MoEISRLIIF",
        "iterations": 5,
    }
    assert distilling(str(tmp_path / "first.pth")) == [first]
    resumed = {"pretrain_network_g": str(tmp_path / "net_g_7.pth"), "resume_state": "7.state"}
    assert distilling(str(tmp_path / "first.pth"), **resumed) == [first]
    assert [each["file"] for each in distilling("tiny_LIIF", **resumed)] == [
        "first.pth",
        bundled_weights()["tiny_LIIF"].name,
    ]


def test_the_deepest_expert_as_a_teacher_is_no_other_network(tmp_path, photographs):
    opt = options(photographs, tmp_path, distillation_opt={"type": "L1Loss", "teacher": "deepest"})
    assert STARTED not in train(opt, tmp_path)


def test_card_and_index_name_the_teacher(tmp_path):
    write_card(tmp_path / "card.yml")
    write_experiment(tmp_path / "small_mixture")
    path = tmp_path / "small_mixture/models/net_g_200.pth"
    start = {"part": "network_g", "file": "birds.pth", "sha256": "11"}
    teacher = {
        "part": TEACHER,
        "file": "liif.pth",
        "sha256": "33",
        "training_data": [{"name": "DIV2K", "licence": "research only"}],
    }
    save_checkpoint(path, {**read_checkpoint(path), STARTED: [start, teacher]})
    _, card, index, _ = publish(path, tmp_path / "zoo", card_file=tmp_path / "card.yml")
    text = card.read_text(encoding="utf-8")
    assert "| Started from | `birds.pth`, SHA-256 `11` |" in text
    assert "| Distilled from | `liif.pth` (teacher), SHA-256 `33` |" in text
    assert "| `liif.pth` (teacher), SHA-256 `33` | DIV2K (research only) | not stated |" in text
    facts = yaml.safe_load(index.read_text(encoding="utf-8"))["Models"][0]["Metadata"]
    assert facts["Training Data"] == ["Birds", "Boats", "DIV2K"]
    assert [(entry["Part"], entry["SHA-256"]) for entry in facts["Started From"]] == [
        ("network_g", "11"),
        ("teacher", "33"),
    ]


def test_a_training_from_nothing_names_none(tmp_path, photographs):
    assert STARTED not in train(options(photographs, tmp_path), tmp_path)


def test_pretrained_encoders_are_named_and_not_needed_to_resume(tmp_path, photographs):
    opt = options(photographs, tmp_path)
    params = {"num_feat": 8, "num_block": 1}
    full = build_network({"type": "MSRResNet", **params})
    save_checkpoint(tmp_path / "resnet.pth", {"params": full.state_dict()})
    encoder = {"type": "ToolboxEncoder", "arch": "MSRResNet", "params": params}
    opt["network_g"]["encoder"] = {**encoder, "pretrained": str(tmp_path / "resnet.pth")}
    saved = train(opt, tmp_path)
    (source,) = saved[STARTED]
    assert (source["part"], source["file"]) == ("network_g.encoder", "resnet.pth")
    (tmp_path / "resnet.pth").unlink()
    resumed = options(photographs, tmp_path)
    resumed["network_g"]["encoder"] = {**encoder, "pretrained": str(tmp_path / "resnet.pth")}
    resumed["path"] |= {"pretrain_network_g": str(tmp_path / "net_g_7.pth"), "resume_state": "7.state"}
    assert train(resumed, tmp_path)[STARTED] == saved[STARTED]


def test_the_name_of_a_bundled_network_starts_a_training(tmp_path, photographs):
    opt = options(photographs, tmp_path)
    del opt["train"]["balance_opt"]
    opt |= {"network_g": {"from": "tiny_LIIF"}}
    opt = with_network_from(opt)
    assert (opt["network_g"]["type"], opt["path"]["pretrain_network_g"]) == ("LIIF", "tiny_LIIF")
    assert train(opt, tmp_path)[STARTED][0]["name"] == "tiny_LIIF"


def test_options_from_weights_can_be_overridden():
    network = {"from": "tiny_MoEISR_LIIF_s", "tau": 0.5}
    opt = with_network_from({"network_g": network, "path": {"pretrain_network_g": "mine.pth"}})
    assert opt["network_g"]["tau"] == 0.5
    assert opt["network_g"]["type"] == "MoEISRLIIF"
    assert opt["path"]["pretrain_network_g"] == "mine.pth"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("tiny_LIFF", "network_g.from: tiny_LIFF: no such file of weights"),
        (3, "network_g.from: is 3; give a"),
    ],
)
def test_unusable_weights_are_one_line(weights, message):
    with pytest.raises(ValueError, match=message) as error:
        with_network_from({"network_g": {"from": weights}})
    assert "\n" not in str(error.value)


def test_weights_of_an_own_class_name_its_module(tmp_path):
    path = tmp_path / "mine.pth"
    network = {"type": "LIIF", "encoder": {"type": "OfNobody"}}
    torch.save({"params": {}, "network_g": network, "modules": {"OfNobody": "my_package.my_encoder"}}, path)
    with pytest.raises(
        ValueError, match=r"^network_g\.from: .*mine\.pth: needs the network OfNobody of"
    ) as error:
        with_network_from({"network_g": {"from": str(path)}})
    assert str(error.value).endswith("by --import my_package.my_encoder")


def test_card_and_index_state_inherited_data_and_licences(tmp_path):
    write_card(tmp_path / "card.yml")
    write_experiment(tmp_path / "small_mixture")
    path = tmp_path / "small_mixture/models/net_g_200.pth"
    grand = {"part": "network_g.encoder", "file": "edsr.pth", "sha256": "22"}
    parent = {
        "part": "network_g",
        "file": "birds.pth",
        "sha256": "11",
        "name": "birds",
        "iterations": 9000,
        "licence": "CC BY-NC 4.0",
        "training_data": [{"name": "Flickr", "licence": "various"}, {"name": "Boats"}],
        STARTED: [grand],
    }
    save_checkpoint(path, {**read_checkpoint(path), STARTED: [parent]})
    weights, card, index, _ = publish(path, tmp_path / "zoo", card_file=tmp_path / "card.yml")
    content = read_checkpoint(weights)
    assert content[STARTED] == [parent]
    assert content[PUBLISHED]["licence"] == CARD["licence"]
    text = card.read_text(encoding="utf-8")
    start = "birds, `birds.pth`, SHA-256 `11`, 9,000 iterations"
    encoder = "`edsr.pth` (encoder only), SHA-256 `22`"
    assert f"| Started from | {start}; before that, {encoder} |" in text
    assert f"| {start} | Flickr (various); Boats | CC BY-NC 4.0 |" in text
    assert f"| {encoder} | not stated | not stated |" in text
    facts = yaml.safe_load(index.read_text(encoding="utf-8"))["Models"][0]["Metadata"]
    assert facts["Training Data"] == ["Birds", "Boats", "Flickr"]
    own = {"Birds": "CC0", "Boats": "CC BY 4.0"}
    assert facts["Training Data Licenses"] == {**own, "Flickr": "various"}
    assert facts["Started From"][0]["Training Data Licenses"] == {"Flickr": "various"}
    assert "Training Data Licenses" not in facts["Started From"][1]
    assert [entry["SHA-256"] for entry in facts["Started From"]] == ["11", "22"]
    again = starting_point(weights)
    assert (again["name"], again["iterations"]) == ("small_mixture", 200)
    assert [source["sha256"] for source in ancestors([again])][1:] == ["11", "22"]
    assert NETWORK["encoder"] == TINY_ENCODER
