"""Publishing: the file of weights, the card, the index and the model table."""

import hashlib
import json
import math
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from basicsr.archs import build_network
from references import lively, picture
from special_files import make_special, state
from training_files import (
    CARD,
    NETWORK,
    OPTIONS,
    log,
    write_card,
    write_experiment,
    write_options_of,
    write_results,
)

from moeisr_plugin import __version__
from moeisr_plugin.checkpoints.network import network_from, read_checkpoint, save_checkpoint
from moeisr_plugin.checkpoints.provenance import UPCYCLED
from moeisr_plugin.cli import main
from moeisr_plugin.publishing import card
from moeisr_plugin.publishing.card import _type_and_parameters
from moeisr_plugin.publishing.publish import publish
from moeisr_plugin.publishing.training_log import read_training
from moeisr_plugin.render.complexity import executed_macs, extreme_workloads, published_macs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _counted_once():
    """Count the MACs of equal networks once."""
    costs, count = {}, card._cost

    def cost(net):
        key = json.dumps(net.hyper_parameters)
        if key not in costs:
            costs[key] = count(net)
        return costs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card, "_cost", cost)
        yield


@pytest.fixture
def experiment(tmp_path):
    write_card(tmp_path / "card.yml")
    write_experiment(tmp_path / "small_mixture")
    return tmp_path / "small_mixture"


def published(experiment, checkpoint="net_g_200.pth", **options):
    folder = experiment.parent / "zoo"
    source = experiment / "models" / checkpoint
    written = publish(source, folder, card_file=experiment.parent / "card.yml", **options)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    return written


# --- weights ---


def test_the_card_of_an_upcycled_network_states_its_origin(experiment):
    origin = {
        "file": "liif.pth",
        "sha256": "0123",
        "network": "LIIF",
        "experts": [{"depth": 2, "how": "first 1 of 2 layers copied, last 1 solved"}],
    }
    path = experiment / "models/net_g_200.pth"
    save_checkpoint(path, {**read_checkpoint(path), UPCYCLED: origin})
    write_card(experiment.parent / "card.yml", origin="Of a friend, under a licence.")
    weights, card, *_ = published(experiment)
    assert read_checkpoint(weights)[UPCYCLED] == origin
    text = card.read_text(encoding="utf-8")
    source = "Upcycled from the LIIF in `liif.pth`, SHA-256 `0123`. Its layers initialised the experts:"
    assert f"## Origin\n\n{source}" in text
    assert "- depth 2: first 1 of 2 layers copied, last 1 solved\n\nOf a friend, under a licence." in text


def test_name_contains_the_hash_and_file_contains_only_averaged_weights(experiment):
    weights, *rest = published(experiment)
    assert [path.name for path in rest] == ["small_mixture.md", "metafile.yml", "ModelZoo.md"]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert weights.name == f"small_mixture-{digest[:8]}.safetensors"
    tensors = safetensors.torch.load_file(weights)
    wanted = lively(build_network(NETWORK), seed=1).state_dict()
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)


def test_published_network_gives_the_same_output_as_the_checkpoint(experiment):
    weights, *_ = published(experiment)
    checkpoint = network_from(experiment / "models/net_g_200.pth")
    queries = torch.rand(1, 20, 2) * 2 - 1, torch.tensor([[0.1, 0.1]])
    lr = picture(1, 9, 11).float()
    with torch.no_grad():
        answers = [net(lr, *queries) for net in (checkpoint, network_from(weights))]
    assert torch.equal(answers[0].rgb, answers[1].rgb)
    assert torch.equal(answers[0].scores, answers[1].scores)


def test_publishing_twice_gives_the_same_file(experiment):
    [first, *_] = published(experiment)
    content = first.read_bytes()
    [second, *_] = published(experiment, overwrite=True)
    assert (second, second.read_bytes()) == (first, content)


@pytest.mark.parametrize("name", ["small_mixture.md", "metafile.yml", "ModelZoo.md", None])
def test_what_is_no_file_is_not_replaced(name, experiment):
    weights, *_ = published(experiment)
    path = weights.with_name(name) if name is not None else weights
    path.unlink()
    make_special(path, "link to nothing")
    before = state(path), sorted(path.parent.iterdir())
    contents = [each.read_bytes() for each in path.parent.iterdir() if each != path]
    with pytest.raises(FileExistsError, match="is a symbolic link to nowhere, which does not exist"):
        published(experiment, overwrite=True)
    assert (state(path), sorted(path.parent.iterdir())) == before
    assert [each.read_bytes() for each in path.parent.iterdir() if each != path] == contents


def test_float16_halves_the_file_and_rounds(experiment):
    full, *_ = published(experiment)
    half, *_ = published(experiment, dtype="float16", name="half")
    tensors = [safetensors.torch.load_file(path) for path in (full, half)]
    assert all(torch.equal(tensors[1][name], tensors[0][name].half()) for name in tensors[0])
    assert {parameter.dtype for parameter in network_from(half).parameters()} == {torch.float32}
    assert "float16" in (half.parent / "half.md").read_text()


def test_weights_of_the_last_iteration_are_published_without_averages(experiment):
    net = lively(build_network(NETWORK), seed=3)
    path = experiment / "models/net_g_200.pth"
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    weights, card, *_ = published(experiment)
    assert torch.equal(
        safetensors.torch.load_file(weights)["encoder.head.0.bias"], net.state_dict()["encoder.head.0.bias"]
    )
    assert "of the last iteration" in card.read_text()


# --- the card ---


@pytest.mark.parametrize(
    ("checkpoint", "iterations", "seconds"),
    [("net_g_200.pth", 200, 20 * 60 + 12 * 60 + 1), ("net_g_latest.pth", 400, 20 * 60 + 0.5 + 30 * 60)],
)
def test_card_describes_the_training_from_its_logs(experiment, checkpoint, iterations, seconds):
    _, card, *_ = published(experiment, checkpoint)
    rows = dict(re.findall(r"^\| ([A-Z][^|]*?) \| (.*) \|$", card.read_text(), re.MULTILINE))
    assert rows["Iterations"] == f"{iterations} of 400"
    assert rows["Batch"] == f"16, {iterations * 16:,} patches in all"
    assert rows["Seconds"] == f"{seconds:,.0f}, in 2 runs, validation included"
    assert rows["Pictures"] == "42"
    assert rows["Samples"] == "lr_size 24, sample_q 576, scale_range [1, 4]"
    assert rows["Seed"] == "7"
    assert rows["Optimiser"] == "Adam (lr 0.001)"
    assert rows["Schedule"] == "MultiStepLR (milestones [200, 300])"
    assert rows["Losses"] == "L1Loss (loss_weight 1.0)"
    assert rows["Iterations with random routing"] == "50"
    assert rows["Option file"] == "`options/train/small.yml`"
    assert "Warm-up iterations" not in rows
    assert "someone" not in card.read_text()


@pytest.mark.parametrize("name", ["20240131_1", "1e5", "None"])
def test_a_name_that_looks_like_a_number_is_a_text(experiment, name):
    write_options_of(experiment, {**OPTIONS, "name": name})
    weights, *_ = published(experiment)
    assert weights.name.startswith(f"{name}-")


@pytest.mark.parametrize(
    ("processes", "batch"),
    [
        ("  dist: False\n  num_gpu: 4", 32),
        ("  dist: False\n  num_gpu: 0", 8),
        ("  dist: True\n  world_size: 3", 24),
    ],
)
def test_the_batch_counts_processes_or_gpus_as_logged(experiment, processes, batch):
    path = experiment / "train_b.log"
    lines = [
        line for line in path.read_text().splitlines() if not re.match("  (dist|num_gpu|world_size):", line)
    ]
    path.write_text("\n".join([processes, *lines]) + "\n")
    assert read_training(experiment, experiment / "models/net_g_200.pth").batch == batch


def test_the_option_file_may_be_named_only_in_the_resolved_file(experiment):
    (experiment / "small.yml").rename(experiment / "options.yml")
    text = (experiment / "options.yml").read_text()
    write_options_of(experiment, OPTIONS)
    (experiment / "options.yml").write_text(text + (experiment / "options.yml").read_text())
    training = read_training(experiment, experiment / "models/net_g_200.pth")
    assert training.option_file == "options/train/small.yml"
    assert training.options == OPTIONS


def test_iterations_are_those_stated_by_the_checkpoint(experiment):
    later = (
        "2026-11-24 11:09:00,000 INFO: Ended by SIGTERM: iteration 452 is saved; the same command goes on.\n"
    )
    (experiment / "train_c.log").write_text(log((400, "11:00"), {450: "11:08"}) + later)
    path = experiment / "models/net_g_latest.pth"
    content = read_checkpoint(path)
    save_checkpoint(path, {**content, "iter": 400})
    save_checkpoint(path.with_name("net_g_452.pth"), {**content, "iter": 452})
    cards = [published(experiment, name, name=name)[1] for name in ("net_g_latest.pth", "net_g_452.pth")]
    found = [re.search(r"\| Iterations \| ([\d,]+) of", card.read_text()) for card in cards]
    assert [match and match[1] for match in found] == ["400", "452"]
    assert read_training(experiment, path, 452).seconds == 20 * 60 + 0.5 + 30 * 60 + 9 * 60


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("train.py -opt my options/small x.yml --auto_resume", "my options/small x.yml"),
        ("train.py --auto_resume -opt=a-b.yml", "a-b.yml"),
        ("train.py -opt /home/me/a.yml --force_yml name=b", "a.yml"),
    ],
)
def test_option_file_is_named_as_on_the_command_line(experiment, command, named):
    (experiment / "small.yml").write_text(f"# CMD:\n# {command}\n")
    assert read_training(experiment, experiment / "models/net_g_200.pth").option_file == named


def test_card_contains_the_results_and_the_statement(experiment):
    grey = "Grey counts as three equal channels in 1 of 2 HR pictures; by luma that gives 1.32 dB more."
    source = write_results(
        experiment.parent / "results.json",
        experiment / "models/net_g_200.pth",
        protocol="benchmark",
        notes=[grey, "Alpha was dropped."],
    )
    _, card, *_ = published(experiment, results=[source])
    text = card.read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "given" in line]
    assert rows == [
        ["×2", "given", "bicubic", "2", "33.00", "0.8000", "", "", ""],
        ["×2", "given", "small_mixture", "2", "34.23", "0.9123", "0.100", "0.250", "75"],
        ["×3.5", "given", "bicubic", "2", "30.00", "0.8000", "", "", ""],
        ["×3.5", "given", "small_mixture", "2", "31.23", "0.9123", "0.100", "0.250", "75"],
    ]
    assert "Protocol benchmark: luma" in text
    assert "bicubic at ×2 has 33.00 dB, against 32.34 dB.\n- Alpha was dropped.\n\n## Cost" in text
    assert "Fast CPU, 1 thread, torch 2.13.0" in text
    for stated in ("Noise stays.", "one core of a laptop", "Apache-2.0", "CC BY 4.0", "Sailor, 1999"):
        assert stated in text


def test_infinite_psnr_is_published(experiment):
    source = write_results(experiment.parent / "results.json", experiment / "models/net_g_200.pth")
    report = json.loads(source.read_text())
    for row in report["averages"][:2]:
        row["psnr"] = None
    source.write_text(json.dumps(report))
    _, card, index, zoo = published(experiment, results=[source])
    assert re.search(r"\| small_mixture \| +2 \| +inf \|", card.read_text())
    assert yaml.safe_load(index.read_text())["Models"][0]["Results"][0]["Metrics"]["PSNR x2"] == math.inf
    assert "| inf / 0.9123 |" in zoo.read_text()


def test_card_lists_published_and_executed_macs(experiment):
    weights, card, *_ = published(experiment)
    counted = re.findall(
        r"^\| ×4 \| all to the (?:shallowest expert|deepest) \| (.*) \| (.*) \|$", card.read_text(), re.M
    )
    net = network_from(weights)
    wanted = [
        tuple(f"{count(net, work) / 1e9:.4g} G" for count in (published_macs, executed_macs))
        for work in extreme_workloads(net, (180, 320), (720, 1280))
    ]
    assert counted == wanted


# --- the index and the table ---


def test_index_has_the_form_of_a_model_index(experiment):
    checkpoint = experiment / "models/net_g_200.pth"
    sources = [
        write_results(experiment.parent / f"{name}.json", checkpoint, dataset=name)
        for name in ("birds", "boats")
    ]
    weights, _, index, zoo = published(experiment, results=sources)
    published(experiment, name="again", results=sources[:1])
    content = yaml.safe_load(index.read_text())
    assert [entry["Name"] for entry in content["Collections"]] == ["MoEISR"]
    assert content["Collections"][0]["Paper"]["URL"] == "https://arxiv.org/abs/2311.12077"
    first, second = content["Models"]
    assert (first["Name"], second["Name"]) == ("small_mixture", "again")
    assert first["In Collection"] == "MoEISR"
    assert first["Config"] == "options/train/small.yml"
    assert (index.parent / first["README"]).read_text().startswith("# small_mixture\n")
    assert (index.parent / content["Collections"][0]["README"]).samefile(zoo)
    code = content["Collections"][0]["Code"]
    assert "class MoEISRLIIF" in (ROOT / code["URL"]).read_text()
    assert code["Version"] == f"v{__version__}"
    assert first["Weights"] == weights.name
    assert first["Metadata"]["Training Data"] == ["Birds", "Boats"]
    assert first["Metadata"]["Training Time (s)"] == 1921
    assert [result["Dataset"] for result in first["Results"]] == ["birds", "boats"]
    assert first["Results"][0]["Task"] == "Image Super-Resolution"
    assert first["Results"][0]["Metrics"] == {
        "PSNR x2": 34.2346,
        "SSIM x2": 0.9123,
        "PSNR x3.5": 31.2346,
        "SSIM x3.5": 0.9123,
    }
    table = [line for line in zoo.read_text().splitlines() if line.startswith("|")]
    assert (
        table[0]
        == "|Exp Name | "
        + " | ".join(f"{name} ×{scale} (PSNR/SSIM)" for name in ("birds", "boats") for scale in ("2", "3.5"))
        + " |"
    )
    assert table[2] == f"| [{weights.stem}]({weights.name}) |" + " 34.2346 / 0.9123 | 31.2346 / 0.9123 |" * 2
    assert table[3].endswith("| 34.2346 / 0.9123 | 31.2346 / 0.9123 |  |  |")
    unmeasured, *_ = published(experiment, name="unmeasured")
    assert zoo.read_text().endswith(f"|Exp Name|\n| :--- |\n| [{unmeasured.stem}]({unmeasured.name}) |\n")


def test_published_address_is_in_index_card_and_table(experiment):
    write_card(experiment.parent / "card.yml", url="https://example.org/weights/")
    for overwrite in (False, True):
        weights, card, index, zoo = published(experiment, overwrite=overwrite)
    address = f"https://example.org/weights/{weights.name}"
    (model,) = yaml.safe_load(index.read_text())["Models"]
    assert model["Weights"] == address
    assert f"published at <{address}>" in card.read_text()
    assert f"[{weights.stem}]({address})" in zoo.read_text()
    assert weights.is_file()


@pytest.mark.parametrize("url", ["weights", "ftp://example.org", "https://example.org/my weights"])
def test_an_address_that_is_none_is_refused(experiment, url):
    write_card(experiment.parent / "card.yml", url=url)
    with pytest.raises(ValueError, match=r"card.yml: url is .*; give an address"):
        published(experiment)


def test_rows_of_the_table_are_in_the_measure_of_the_toolbox(experiment, capsys):
    """A row by LIIF's protocol would stand 2 dB too high beside the rows of BasicSR."""
    checkpoint = experiment / "models/net_g_200.pth"
    by_luma = write_results(experiment.parent / "luma.json", checkpoint, protocol="benchmark")
    in_rgb = write_results(experiment.parent / "rgb.json", checkpoint, dataset="boats")
    folder, card = experiment.parent / "zoo", experiment.parent / "card.yml"
    command = ["publish", str(checkpoint), "-o", str(folder), "--card", str(card), "--results", str(by_luma)]
    assert main(command) == 0
    remedy = "add --results of moeisr evaluate --protocol basicsr"
    expected = f"small_mixture has no figures in BasicSR's measure; {remedy}\n"
    assert capsys.readouterr().err == f"{folder / 'ModelZoo.md'}: {expected}"
    zoo = folder / "ModelZoo.md"
    assert "PSNR" not in zoo.read_text()
    assert main([*command, str(in_rgb), "--name", "both"]) == 0
    assert capsys.readouterr().err == ""
    text = zoo.read_text()
    assert "RGB, clipped and rounded to 8 bits, without a border as wide as the scale." in text
    assert "|Exp Name | boats ×2 (PSNR/SSIM) | boats ×3.5 (PSNR/SSIM) |" in text
    assert "birds" not in text
    _, below = text.split("Not measured by this protocol (`moeisr evaluate --protocol basicsr`):")
    assert below.count("[small_mixture-") == 1
    assert "[both-" not in below


def test_model_is_replaced_only_with_overwrite(experiment):
    former, card, *_ = published(experiment)
    net = lively(build_network(NETWORK), seed=5)
    path = experiment / "models/net_g_latest.pth"
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    before = card.read_text()
    with pytest.raises(ValueError, match=r"metafile.yml: already contains small_mixture; .* --overwrite$"):
        published(experiment, path.name)
    assert card.read_text() == before
    now, _, index, _ = published(experiment, path.name, overwrite=True)
    assert [model["Weights"] for model in yaml.safe_load(index.read_text())["Models"]] == [now.name]
    assert sorted(now.parent.glob("*.safetensors")) == [now]
    assert former != now


# --- errors ---


def without(*keys):
    content = json.loads(json.dumps(CARD))
    *outer, last = keys
    parent = content
    for key in outer:
        parent = parent[key]
    del parent[last]
    return content


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (without("licence"), "card.yml: licence is missing; give licence, limits, hardware, training_images"),
        (without("limits"), "card.yml: limits is missing"),
        (without("training_images", 1, "source"), "card.yml: training_images: 2: source is missing"),
        (without("training_images", 1), "the sources sum to 30 pictures, but the training used 42"),
        ({**CARD, "license": "MIT"}, "card.yml: license is unknown; give only licence, "),
        ({**CARD, "limits": ""}, "card.yml: limits is ''; give a text"),
        ({**CARD, "training_images": "birds"}, "card.yml: training_images: list the sources"),
        (["licence"], "card.yml: contains no fields"),
        (None, "card.yml: contains no fields"),
    ],
)
def test_wrong_card_is_reported_in_one_line_and_nothing_is_written(experiment, card, message, capsys):
    path = experiment.parent / "card.yml"
    path.write_text(yaml.safe_dump(card))
    refused(experiment, capsys, message)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda e: (e / "train_b.log").unlink() or (e / "train_a.log").unlink(),
            "holds no log of a training",
        ),
        (lambda e: (e / "small.yml").unlink(), "holds no option file"),
        (
            lambda e: (e / "options.yml").unlink(),
            "options.yml: no such file; trainings of older versions did not write it, so write it by `moeisr "
            "options OPTION_FILE",
        ),
        (
            lambda e: (e / "options.yml").write_text("name: x"),
            "options.yml: lacks manual_seed; write it anew",
        ),
        (
            lambda e: (e / "models/net_g_200.pth").rename(e / "models/net_g_900.pth"),
            "do not reach net_g_900.pth",
        ),
        (
            lambda e: retrained(e, "hidden_dim: 8", "hidden_dim: 9"),
            "net_g_200.pth: network_g.hidden_dim differs from the training logs",
        ),
        (lambda e: retrained(e, "num_feat: 4", "num_feat: 5"), "network_g.encoder.num_feat differs from"),
        (
            lambda e: write_results(e / "other.json", e / "small.yml"),
            "other.json: was measured with other weights",
        ),
        (lambda e: measured_in_16_bits(e / "other.json"), "other.json: was measured in bfloat16; give"),
        (lambda e: (e / "other.json").write_text("{}"), "other.json: not a results.json of moeisr evaluate"),
        (lambda e: zoo_with_index(e, "Models: none"), "metafile.yml: not a model index"),
        (lambda e: zoo_with_index(e, "- 1"), "metafile.yml: not a model index"),
    ],
)
def test_contradictions_are_reported_in_one_line_and_nothing_is_written(experiment, spoil, message, capsys):
    spoil(experiment)
    refused(experiment, capsys, message)


def measured_in_16_bits(path):
    write_results(path, path.parent / "models/net_g_200.pth")
    path.write_text(json.dumps({**json.loads(path.read_text()), "precision": "bfloat16"}))


def retrained(experiment, was, now):
    path = experiment / "options.yml"
    path.write_text(path.read_text().replace(was, now))


def zoo_with_index(experiment, text):
    (experiment.parent / "zoo").mkdir()
    (experiment.parent / "zoo/metafile.yml").write_text(text)


def refused(experiment, capsys, message):
    folder = experiment.parent / "zoo"
    before = folder.exists(), list(folder.glob("*"))
    [checkpoint] = [path for path in (experiment / "models").iterdir() if "latest" not in path.name]
    command = ["publish", str(checkpoint), "-o", str(folder), "--card", str(experiment.parent / "card.yml")]
    more = ["--results", str(experiment / "other.json")] if (experiment / "other.json").exists() else []
    assert main([*command, *more]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert (folder.exists(), list(folder.glob("*"))) == before


def test_card_never_replaces_the_model_table(experiment):
    with pytest.raises(ValueError, match=r"--name ModelZoo: its card would replace ModelZoo.md"):
        published(experiment, name="ModelZoo")


def test_failure_keeps_the_existing_files(experiment, monkeypatch):
    def fail(model):
        raise OSError("no space left")

    _, card, index, zoo = published(experiment)
    before = [path.read_text() for path in (card, index, zoo)]
    files = set(card.parent.iterdir())
    monkeypatch.setattr("moeisr_plugin.publishing.publish.card", fail)
    with pytest.raises(OSError, match="no space left"):
        published(experiment, "net_g_latest.pth", dtype="float16", overwrite=True)
    assert [path.read_text() for path in (card, index, zoo)] == before
    assert set(card.parent.iterdir()) == files


def test_command_prints_the_written_paths(experiment, capsys):
    folder = experiment.parent / "zoo"
    source = write_results(experiment.parent / "results.json", experiment / "models/net_g_200.pth")
    command = ["publish", str(experiment / "models/net_g_200.pth"), "-o", str(folder)]
    command += ["--card", str(experiment.parent / "card.yml"), "--results", str(source), "--name", "mine"]
    assert main(command) == 0
    assert capsys.readouterr().out.split() == [
        str(path)
        for path in (
            *folder.glob("mine-*.safetensors"),
            folder / "mine.md",
            *(folder / n for n in ("metafile.yml", "ModelZoo.md")),
        )
    ]


def test_the_card_states_the_file_of_a_teacher_without_its_folder():
    options = {"type": "L1Loss", "loss_weight": 1.0, "teacher": "/home/author/liif.pth"}
    assert _type_and_parameters(options) == "L1Loss (loss_weight 1.0, teacher liif.pth)"
