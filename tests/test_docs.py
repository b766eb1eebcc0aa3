"""README.md and docs/: examples run, numbers are those of docs/results, and sentences are short."""

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import shlex
import shutil
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from PIL import Image
from skimage import data
from training_files import write_card, write_experiment, write_results

from moeisr_plugin import Upscaler, cli, render
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF
from moeisr_plugin.archs.registry import NETWORKS
from moeisr_plugin.checkpoints.network import network_from, save_checkpoint
from moeisr_plugin.commands import memory, upscale
from moeisr_plugin.commands.networks import ADVICE
from moeisr_plugin.data.degradation import Degradation
from moeisr_plugin.options.command_line import options_of_command
from moeisr_plugin.options.shipped import located_options
from moeisr_plugin.options.tables import option_tables

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
README = PAGES["README.md"]


def blocks(language):
    """Return (page, content) of every code block of a language."""
    pattern = rf"^```{language}\n(.*?)^```"
    return [
        (page, content)
        for page, text in PAGES.items()
        for content in re.findall(pattern, text, re.DOTALL | re.MULTILINE)
    ]


COMMANDS = [
    (page, shlex.split(line, comments=True))
    for page, content in blocks("bash")
    for line in content.replace("\\\n", " ").splitlines()
    if shlex.split(line, comments=True)
]
# These take minutes to hours or need data that the tests lack, so that only their arguments are checked.
LONG = ("evaluate", "upcycle", "publish", "export", "web")


@pytest.fixture(scope="module")
def mentioned_files(tmp_path_factory):
    """Create a folder with the files that the pages mention."""
    folder = tmp_path_factory.mktemp("mentioned")
    torch.manual_seed(0)
    encoder = {"type": "EDSREncoder", "num_feat": 8, "num_block": 1}
    net = MoEISRLIIF(encoder=encoder, hidden_dim=8)
    for name in ("net_g_latest.pth", "a.pth", "b.pth", "mine.pth"):
        save_checkpoint(folder / name, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    torch.save(published_liif(LIIF(encoder=encoder, hidden_dim=8)), folder / "edsr-baseline-liif.pth")
    swinir = {"type": "SwinIREncoder", "embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 4}
    lte = LTE(encoder={**swinir, "padding": "published"}, hidden_dim=8, num_freq_features=8)
    save_checkpoint(
        folder / "swinir-lte.pth", {"params": lte.state_dict(), "network_g": lte.hyper_parameters}
    )
    for name in ("photos", "datasets/Set5"):
        (folder / name).mkdir(parents=True)
    for path in ("photo.png", "photos/one.png", "datasets/Set5/one.png"):
        Image.fromarray(data.chelsea()[100:121, 100:133]).save(folder / path)
    jpeg = io.BytesIO()
    Image.fromarray(data.chelsea()[:99, :133]).save(jpeg, "JPEG")
    (folder / "cut.jpg").write_bytes(jpeg.getvalue()[:-500])
    (folder / "my_encoder.py").touch()
    if find_spec("av"):
        write_clip(folder / "clip.mp4")
    write_card(folder / "card.yml")
    experiment = folder / "experiments/train_EDSR_MoEISR_LIIF_s"
    write_experiment(experiment)
    write_results(folder / "results/Set14/results.json", experiment / "models/net_g_latest.pth")
    (folder / "options").symlink_to(ROOT / "options")
    return folder


def write_clip(path):
    """Write a video of three frames, of which two are equal."""
    from video_files import write_video

    first, second = (data.chelsea()[100:118, left : left + 32] for left in (100, 104))
    write_video(path, [first, first, second], codec="libx264", pixel_format="yuv420p")


@pytest.fixture
def users_folder(mentioned_files, tmp_path, monkeypatch):
    """Make a copy of the files that the pages mention the working directory."""
    folder = shutil.copytree(mentioned_files, tmp_path / "user", symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def published_liif(net):
    """Return a LIIF on EDSR in the format of the published code."""
    args = {
        "encoder_spec": {
            "name": "edsr-baseline",
            "args": {"no_upsampling": True, "n_feats": 8, "n_resblocks": 1},
        },
        "imnet_spec": {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [8] * 4}},
    }
    weights = {key.replace("experts.0.", "imnet."): value for key, value in net.state_dict().items()}
    return {"model": {"name": "liif", "args": args, "sd": weights}}


# --- examples ---


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({page for page, _ in blocks("python")}))
def test_python_examples_run(users_folder, page):
    if page == "docs/export.md":
        pytest.importorskip("onnxruntime", reason='pip install ".[onnx]"')
        assert cli.main(["export", "net_g_latest.pth", "-o", "exported"]) == 0
    code = "\n".join(content for name, content in blocks("python") if name == page)
    if page == "docs/export.md":
        assert "TILE, BAND = 256, 192" in code
        code = code.replace("TILE, BAND = 256, 192", "TILE, BAND = 9, 20")  # several of each
    try:
        exec(compile(code, page, "exec"), {})
    finally:
        for name in ("OneConvolution", "Bilinear"):
            ARCH_REGISTRY._obj_map.pop(name, None)
            NETWORKS.pop(name, None)
    if page == "docs/export.md":
        lr = torch.from_numpy(np.array(Image.open("photo.png"))).permute(2, 0, 1)[None] / 255
        net = network_from("net_g_latest.pth")
        expected = render.render(net, render.encode(net, lr), (round(21 * 3.7), round(33 * 3.7)))
        pixels = np.asarray(Image.open("by_onnx.png")).astype(float) / 255
        assert np.abs(pixels - expected[0].permute(1, 2, 0).clamp(0, 1).numpy()).max() < 0.6 / 255
    if page == "docs/spandrel.md":
        pixels = Upscaler("net_g_latest.pth")(np.array(Image.open("photo.png")), scale=4)
        assert np.array_equal(np.asarray(Image.open("by_spandrel.png")), pixels)
    if "enlarged.png" in code:
        assert Image.open(users_folder / "enlarged.png").size == (round(33 * 3.7), round(21 * 3.7))


@pytest.fixture
def run_line(monkeypatch):
    """Return a function that runs the words of a command line, with its redirections."""

    def run(words):
        with contextlib.ExitStack() as stack:
            for sign, stream, mode in (("<", "stdin", "rb"), (">", "stdout", "wb")):
                if sign in words:
                    at = words.index(sign)
                    file = stack.enter_context(open(words[at + 1], mode))
                    stack.enter_context(monkeypatch.context()).setattr(sys, stream, io.TextIOWrapper(file))
                    words = [*words[:at], *words[at + 2 :]]
            return cli.main(words)

    return run


@pytest.fixture
def same_threads():
    """Give later tests the number of threads that a command changes."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("same_threads")
def test_commands_run(users_folder, capsys, run_line):
    """Commands run in the order of the pages, each in a folder where the outputs of others may exist."""
    ran = 0
    for page, command in COMMANDS:
        if command[0] != "moeisr" or command[1] in LONG:
            continue
        if page == "docs/video.md" and not find_spec("av"):
            continue
        for output in users_folder.glob("*_*"):
            if re.search(r"_(x|long|short)\d", output.name):
                output.rename(users_folder / f"earlier{ran}{output.suffix}")
        present = {path: path.stat().st_mtime_ns for path in users_folder.rglob("*")}
        existing = "--skip-existing" in command
        words = command[1:]
        if words[0] == "upscale" and not {"-n", "--network", "--weights"} & {*words}:
            words = [words[0], "-n", "a.pth", *words[1:]]  # the default network takes longer
        assert run_line(words) == 0, f"{page}: {shlex.join(command)}\n{capsys.readouterr().err}"
        now = {path: path.stat().st_mtime_ns for path in users_folder.rglob("*")}
        assert now != present or existing or capsys.readouterr().out, shlex.join(command)
        ran += 1
    assert ran >= 25


class ParsedError(Exception):
    """The arguments of a command were accepted."""


@pytest.fixture
def parses(monkeypatch):
    """Return a function that checks whether a program accepts its arguments."""
    original = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *args, **kwargs):
        original(self, *args, **kwargs)
        raise ParsedError

    def check(main, arguments):
        with monkeypatch.context() as patch:
            patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
            with pytest.raises(ParsedError):
                main(arguments)

    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return check


def test_arguments_of_long_commands_are_accepted(parses):
    long = [command for _, command in COMMANDS if command[0] == "moeisr" and command[1] in LONG]
    assert {command[1] for command in long} == set(LONG)
    for command in long:
        parses(cli.main, command[1:])


@pytest.mark.slow
def test_arguments_of_tools_are_accepted(parses):
    tools = [command[1:] for _, command in COMMANDS if command[:1] == ["python"] and "tools/" in command[1]]
    assert len(tools) >= 8
    for tool, *arguments in tools:
        assert (ROOT / tool).is_file()
        if tool != "tools/quickstart.py":
            parses(importlib.import_module(Path(tool).stem).main, arguments)


def test_arguments_of_trainings_are_accepted(parses):
    found = 0
    for _, command in COMMANDS:
        for module in ("moeisr_plugin.train", "moeisr_plugin.test"):
            if module in command:
                arguments = command[command.index(module) + 1 :]
                assert (ROOT / located_options(arguments[arguments.index("-opt") + 1])).is_file()
                parses(lambda words: options_of_command(words, str(ROOT), is_train=True), arguments)
                found += 1
    assert found >= 8


def test_arguments_of_torchrun_are_accepted(parses):
    shared = [command for _, command in COMMANDS if "moeisr_plugin.cli" in command]
    assert all(command[0] == "torchrun" for command in shared)
    for command in shared:
        parses(cli.main, command[command.index("moeisr_plugin.cli") + 1 :])


def test_files_of_other_commands_exist():
    named = [word for _, command in COMMANDS for word in command]
    paths = [word for word in named if word.startswith(("options/", "tools/", ".ci/"))]
    assert len(paths) >= 20
    assert all((ROOT / path).is_file() for path in paths)
    known = {"moeisr", "python", "python3", "bash", "pip", "source", "docker", "torchrun", "srun", "unzip"}
    assert {command[0] for _, command in COMMANDS} <= known


def test_extras_that_pip_commands_name_exist():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    extras = {
        name
        for _, command in COMMANDS
        if command[0] == "pip"
        for word in command
        for name in re.findall(r"^\.\[(.+)\]$", word)
    }
    assert extras == {"train", "heic", "openmmlab", "onnx", "spandrel", "web", "video"}
    assert all(f'"{name}": ' in setup for name in extras)


def test_yaml_examples_are_valid():
    for page, content in blocks("yaml"):
        assert isinstance(yaml.safe_load(content), dict), page


def test_encoders_described_in_yaml_are_built():
    described = [yaml.safe_load(content) for page, content in blocks("yaml") if page == "docs/extend.md"]
    assert described
    for each in described:
        net = LIIF(hidden_dim=4, **each)
        assert net.encoder(torch.rand(1, 3, 5, 7)).shape == (1, each["encoder"]["width"], 5, 7)


def test_degradations_in_yaml_are_accepted():
    found = [yaml.safe_load(content) for _, content in blocks("yaml") if "degradation:" in content]
    assert found
    for each in found:
        assert Degradation(each["datasets"]["train"]["degradation"]).operations


def test_every_flag_of_upscale_is_used_in_an_example():
    parser = upscale.add_parser(argparse.ArgumentParser().add_subparsers())
    used = {word for _, command in COMMANDS if command[:2] == ["moeisr", "upscale"] for word in command}
    unused = [
        action.dest
        for action in parser._actions
        if action.option_strings and not used & {*action.option_strings}
    ]
    assert unused == ["help"]


def test_every_command_is_used_in_an_example():
    commands = {command[1] for _, command in COMMANDS if command[0] == "moeisr"}
    quoted = {word for text in PAGES.values() for word in re.findall(r"[`(]moeisr (\w+)", text)}
    assert {*cli.COMMANDS, "help"} <= commands | quoted


# --- messages ---

TROUBLES = {
    "there is no such file; check the name": "upscale nowhere.png --scale 2",
    "is not a picture of a known format": "upscale text.png --scale 2",
    "is damaged or incomplete": "upscale half.png --scale 2",
    "is empty; replace it by a picture": "upscale empty.png --scale 2",
    "is more than the limit of": "upscale photo.png --scale 2 --max-pixels 10",
    "its JPEG data break off or are invalid": "upscale broken.jpg --scale 2",
    "it lacks its end, which --accept-truncated": "upscale cut.jpg --scale 2",
    "whose linear light has no fixed white": "upscale light.exr --scale 2",
    "of memory, but": "upscale photo.png --scale 2 -n a.pth",
    "no picture has this name or matches this pattern": "upscale 'photos/*.gif' --scale 2",
    "contains no pictures": "upscale nothing --scale 2",
    "already exists; choose another -o or add --overwrite": "upscale photo.png --scale 2 -o photos/one.png",
    "is a pipe; choose another": "upscale photo.png --scale 2 -o pipe.png",
    "is an empty name": "upscale '' --scale 2",
    "would be overwritten; choose another -o": "upscale photo.png --scale 2 -o photo.png",
    "several outputs need a folder": "upscale photo.png photos/one.png --scale 2 -o card.yml",
    "(standard input) has no name": "upscale - --scale 2",
    "has none; choose jpg, webp or avif": "upscale photo.png --scale 2 --quality 80",
    "is smaller than the picture": "upscale photo.png --size 3x3",
    "is not a window": "upscale photo.png --scale 2 --window 1,2,3",
    "reaches beyond the picture": "upscale photo.png --scale 2 --window 0,0,99,2",
    "PyTorch finds no GPU": "upscale photo.png --scale 2 --device cuda",
    "a CPU does not support it": "upscale photo.png --scale 2 --device cpu --precision tf32",
    "cannot be imported": "upscale photo.png --scale 2 --import nowhere.py",
    "no such file of weights": "upscale photo.png --scale 2 --weights nowhere.pth",
    "no such folder; name a folder of HR pictures": "evaluate --weights a.pth --data nowhere",
    "has no network_g": "complexity -opt card.yml",
    "unknown; did you mean weight_decay?": ["train:optim_g:weigth_decay=0"],
    "give [smallest, largest], both at least 1": ["datasets:train:scale_range=[4,1]"],
}


def test_messages_of_troubleshooting_are_provoked_here():
    text = PAGES["docs/troubleshooting.md"].partition("## Messages of other programs")[0]
    assert re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE) == sorted(
        TROUBLES, key=lambda message: text.index(f"`{message}`")
    )


@pytest.mark.slow
@pytest.mark.parametrize("message", TROUBLES)
def test_message_of_troubleshooting_appears(users_folder, capsys, monkeypatch, message):
    if message == "of memory, but":
        monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    if message == "PyTorch finds no GPU" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    (users_folder / "nothing").mkdir()
    (users_folder / "empty.png").touch()
    (users_folder / "light.exr").write_bytes(bytes.fromhex("762f3101") + bytes(64))
    (users_folder / "text.png").write_text("no picture")
    whole = (users_folder / "photo.png").read_bytes()
    (users_folder / "half.png").write_bytes(whole[: len(whole) // 2])
    (users_folder / "broken.jpg").write_bytes((users_folder / "cut.jpg").read_bytes() + b"\xff\xd9")
    os.mkfifo(users_folder / "pipe.png")
    provoked = TROUBLES[message]
    if isinstance(provoked, str):
        with contextlib.suppress(SystemExit):
            assert cli.main(shlex.split(provoked)) != 0
    else:
        option_file = "options/train/tiny/train_tiny_LIIF.yml"
        forced = [
            "-opt",
            option_file,
            "--check",
            "--force_yml",
            "datasets:train:dataroot_gt=photos",
            *provoked,
        ]
        with pytest.raises(SystemExit):
            options_of_command(forced, str(users_folder), is_train=True)
    assert message in capsys.readouterr().err


# --- language ---


def test_readme_is_short():
    assert len(README.splitlines()) <= 175
    assert len(README.split()) <= 1600


@pytest.mark.parametrize("page", ["README.md"])
def test_sentences_are_short(page):
    text = re.sub(r"```.*?```|<!--.*?-->", "\n\n", PAGES[page], flags=re.DOTALL)
    text = re.sub(r"^(\||#|!\[).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for paragraph in re.split(r"\n\s*\n|\n(?=- |\d\. )| · ", text):
        for sentence in re.split(r"(?<=[.:;?])\s", " ".join(paragraph.split())):
            assert len(sentence.split()) <= 30, sentence


def test_set_up_commands_are_on_the_first_screen():
    first = "\n".join(README.splitlines()[:25])
    assert "bash tools/quickstart.sh" in first
    assert "bash tools/test.sh" in first


# --- generated parts and numbers ---


@pytest.fixture
def make_docs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("make_docs")


@pytest.mark.slow
def test_generated_parts_are_up_to_date(make_docs, capsys):
    assert make_docs.main(["--check"]) == 0, capsys.readouterr().out


def test_markers_without_partner_or_block_are_refused(make_docs):
    for text in ("<!-- begin:facts -->", "<!-- begin:nothing -->\n<!-- end:nothing -->\n"):
        with pytest.raises(ValueError, match=r"end marker|unknown block nothing"):
            make_docs.with_blocks(text, None)


def test_meanings_of_options_are_of_known_keys(make_docs):
    described = importlib.import_module("documents.options").meanings()
    found = dict(re.findall(r"^### (.+)\n((?:.+\n|\n(?!#))*)", option_tables(), re.MULTILINE))
    for title, keys in described.items():
        assert keys.keys() <= set(re.findall(r"^\| `(\w+)`", found[title], re.MULTILINE)), title
        assert all(len(entry) == 2 for entry in keys.values()), title


def test_every_key_of_an_option_file_has_a_meaning():
    sections = re.findall(r"^## (.+)\n\n((?:\|.+\n)+)", PAGES["docs/options.md"], re.MULTILINE)
    assert {"Top level", "`path`", "`train`", "`val`", "`logger`"} <= {title for title, _ in sections}
    for title, rows in sections:
        if not title.startswith("Type "):  # the docstring of a class need not describe all its arguments
            assert not re.search(r"\|  \|$", rows, re.MULTILINE), title


def table_rows(page, heading):
    """Return the rows of the table of a page with this first heading, as {first cell: other cells}."""
    _, _, below = PAGES[page].partition(f"| {heading} |")
    lines = below.split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows
    return {name: cells for name, *cells in rows}


def kept(name):
    return json.loads((ROOT / "docs/results" / name).read_text(encoding="utf-8"))


def test_networks_of_the_readme_are_those_of_the_index():
    index = yaml.safe_load((ROOT / "moeisr_plugin/weights/metafile.yml").read_text(encoding="utf-8"))
    rows = {name.split("`")[1]: cells for name, cells in table_rows("README.md", "Network").items()}
    shown = [model for model in index["Models"] if not ADVICE[model["Name"]].startswith("to compare")]
    assert set(rows) == {model["Name"] for model in shown}
    for model in shown:
        (metrics,) = (
            result["Metrics"]
            for result in model["Results"]
            if (result["Dataset"], result["Protocol"]) == ("Set14", "benchmark")
        )
        megabytes, _, *psnrs, use = rows[model["Name"]]
        assert psnrs == [f"{metrics[f'PSNR x{scale}']:.2f}" for scale in "234"]
        size = (ROOT / "moeisr_plugin/weights" / model["Weights"]).stat().st_size
        assert megabytes == f"{size / 1e6:.1f}"
        assert use == ADVICE[model["Name"]]


def test_published_rows_are_those_of_the_paper():
    paper = json.loads((ROOT / "tools/published_tables.json").read_text(encoding="utf-8"))["tables"]["2"]
    rows = table_rows("README.md", "PSNR in dB")
    published = {name: cells for name, cells in rows.items() if "as published" in name}
    assert len(published) == 4
    for name, cells in published.items():
        (numbers,) = (row["psnr"] for row in paper["rows"] if f"*{row['method']}, as published*" == name)
        columns = dict(zip(paper["columns"], numbers, strict=True))
        wanted = [columns[f"{dataset} ×{scale}"] for dataset in ("Set5", "Set14") for scale in "234"]
        assert [cell.strip("*") for cell in cells] == [f"{number:.2f}" for number in wanted]


@pytest.mark.parametrize(
    ("heading", "file", "cases", "threads", "precisions"),
    [
        ("Times as fast", "benchmark.json", ("4x96x96", "8x64x64"), (1, 2), ("float32", "bfloat16")),
        (
            "Times as fast on a GPU",
            "benchmark_on_a_gpu.json",
            ("4x96x96", "8x64x64"),
            (1,),
            ("float32", "tf32", "bfloat16"),
        ),
        (
            "Times as fast from 720p to 4K",
            "benchmark_on_a_gpu_to_4k.json",
            ("3x1280x720",),
            (1,),
            ("float32", "tf32", "bfloat16"),
        ),
    ],
)
def test_speed_matches_the_reports(heading, file, cases, threads, precisions):
    seconds = {
        (row["network"], row["code"], row["precision"], row["case"], row["threads"]): row["seconds"]
        for row in kept(file)["rendering"]
    }
    for name, cells in table_rows("docs/speed.md", heading).items():
        plain, name = "LTE" if "LTE" in name else "LIIF", name.replace("R-", "R")
        times = [
            seconds[plain, "plain", "float32", case, count] / seconds[name, "package", precision, case, count]
            for case, precision, count in product(cases, precisions, threads)
        ]
        assert cells == [f"{each:.1f}" for each in times]


def test_speed_beside_a_fixed_scale_matches_the_report():
    rows = {
        row["network"]: row["seconds"]
        for row in kept("benchmark_beside_edsr.json")["rendering"]
        if row["code"] != "plain" and row["case"] == "4x96x96"
    }
    heading = "Seconds of EDSR by PixelShuffle ÷ seconds of"
    for name, cells in table_rows("docs/speed.md", heading).items():
        network = name.strip("`").removesuffix(", random weights")
        assert cells[-1] == f"{rows['EDSR ×4'] / rows[network]:.2f}"
    of_set = {
        entry["network"]: entry["cpu_seconds_per_megapixel"]
        for entry in kept("front.json")["entries"]
        if entry["budget"] is None and entry["code"] in ("BasicSR", "package")
    }
    fact = next(line for line in README.splitlines() if "PixelShuffle takes" in line)
    ratios = re.findall(r"([\d.]+) times as long as `(\w+)`", fact)
    assert [name for _, name in ratios] == ["MoEISR_LIIF_b", "MoEISR_LIIF_s"]
    for ratio, name in ratios:
        assert float(ratio) == pytest.approx(of_set["EDSR"] / of_set[name], abs=0.006)


def test_every_fact_with_a_number_links_to_its_file():
    _, _, below = README.partition("<!-- begin:facts -->\n")
    facts = below.partition("<!-- end:facts -->")[0].strip().splitlines()
    assert len(facts) >= 6
    for fact in facts:
        files = re.findall(r"\(docs/results/(\w+\.json)\)", fact)
        assert files
        assert all((ROOT / "docs/results" / file).is_file() for file in files)


def test_numbers_of_facts_match_their_files():
    found = [kept(name) for name in ("parity.json", "parity_of_review.json")]
    liif, lte, samples = (max(each[key] for each in found) for key in ("liif", "lte", "bfloat16_samples"))
    told = re.search(r"by up to (\S+) for LIIF and (\S+) for LTE", README)
    assert told is not None
    assert [float(number) for number in told.groups()] == [float(f"{each:.0e}") for each in (liif, lte)]
    assert f"off by up to {samples:.1f} of 255" in README
    to_4k = next(
        row["seconds"]
        for row in kept("benchmark_on_a_gpu_to_4k.json")["rendering"]
        if (row["network"], row["code"], row["precision"]) == ("MoEISRLIIF-s", "package", "bfloat16")
    )
    assert f"enlarges {1 / to_4k:.0f} frames a second from 720p to 4K" in README


def test_figures_are_small_and_used():
    figures = list((ROOT / "docs/images").iterdir())
    assert figures
    for figure in figures:
        assert figure.stat().st_size < 300_000, figure.name
        assert any(f"images/{figure.name}" in text for text in PAGES.values()), figure.name
