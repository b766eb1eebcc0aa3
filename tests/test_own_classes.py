"""An encoder of another module goes through every command."""

import re
import shutil
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from skimage import data
from training_files import CARD
from trainings import finish, options, printed, run_cli, start

from moeisr_plugin.archs import registry
from moeisr_plugin.checkpoints.network import CheckpointError, network_from, read_checkpoint, save_checkpoint
from moeisr_plugin.utils.plugins import ENTRY_POINTS, import_modules

ENCODER = """
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn


@ARCH_REGISTRY.register()
class OneConvolution(nn.Conv2d):
    def __init__(self, width):
        super().__init__(3, width, 3, padding=1)
        self.latent_channels = width
        self.halo = 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photographs):
    """A training whose encoder stands in own_encoder.py, up to iteration 12."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_encoder.py").write_text(ENCODER)
    opt: dict[str, Any] = options(photographs) | {"import": ["own_encoder.py"]}
    opt["network_g"]["encoder"] = {"type": "OneConvolution", "width": 4}
    assert finish(start(folder, opt)) == [0], printed(folder)
    picture = Image.fromarray(data.astronaut()[40:63, 170:201])
    picture.save(folder / "small.png")
    return folder


@pytest.fixture
def weights(folder):
    return folder / "experiments/tiny/models/net_g_latest.pth"


@pytest.mark.slow
def test_training_resumes_with_the_module(folder, photographs):
    opt = options(photographs, total_iter=14)
    opt["network_g"]["encoder"] = {"type": "OneConvolution", "width": 4}
    copy = folder.parent / "resumed"
    shutil.copytree(folder, copy)
    assert finish(start(copy, opt, "--auto_resume", "--import", "own_encoder.py")) == [0], printed(copy)
    assert (copy / "experiments/tiny/models/net_g_14.pth").is_file()
    kept = yaml.safe_load((copy / "experiments/tiny/options.yml").read_text())
    assert kept["import"] == ["own_encoder.py"]


@pytest.mark.slow
def test_checkpoint_names_the_module_and_never_imports_it(folder, weights):
    assert read_checkpoint(weights)["modules"] == {"OneConvolution": "own_encoder"}
    code, text = run_cli(folder, "upscale", "small.png", "--scale", 2, "--weights", weights)
    assert code == 2
    assert text.count("\n") == 1
    assert "needs the network OneConvolution of the module own_encoder" in text
    assert "--import own_encoder" in text


@pytest.mark.slow
@pytest.mark.parametrize("module", ["own_encoder", "own_encoder.py"])
def test_upscale(module, folder, weights):
    code, text = run_cli(
        folder,
        "upscale",
        "small.png",
        "--scale",
        2.5,
        "--weights",
        weights,
        "--import",
        module,
        "--overwrite",
    )
    assert code == 0, text
    assert Image.open(folder / "small_x2.5.png").size == (78, 58)


@pytest.mark.slow
def test_evaluate_and_publish(folder, weights, photographs):
    code, text = run_cli(
        folder,
        *("evaluate", "--weights", weights, "--data", photographs, "--scales", 2),
        *("-o", "out", "--import", "own_encoder"),
    )
    assert code == 0, text
    sources = [{**CARD["training_images"][0], "pictures": 2}]
    (folder / "card.yml").write_text(yaml.safe_dump({**CARD, "training_images": sources}))
    code, text = run_cli(
        folder,
        *("publish", weights, "-o", "zoo", "--card", "card.yml", "--results", "out/results.json"),
        *("--import", "own_encoder"),
    )
    assert code == 0, text
    (published,) = (folder / "zoo").glob("*.safetensors")
    assert read_checkpoint(published)["modules"] == {"OneConvolution": "own_encoder"}
    card = (folder / "zoo/tiny.md").read_text()
    assert "It needs `OneConvolution` of the module `own_encoder`." in card
    [command] = re.findall(r"^moeisr (upscale photo.png .*)$", card, re.MULTILINE)
    assert command.endswith(" --import own_encoder")
    shutil.copy(folder / "small.png", folder / "zoo/photo.png")
    shutil.copy(folder / "own_encoder.py", folder / "zoo")
    code, text = run_cli(folder / "zoo", *command.split())
    assert code == 0, text
    code, text = run_cli(folder, "complexity", "--weights", published, "--import", "own_encoder")
    assert code == 0, text
    assert "encoder" in text


@pytest.mark.slow
def test_complexity_and_check_of_the_option_file(folder):
    code, text = run_cli(folder, "complexity", "-opt", "options.yml")
    assert code == 0, text
    assert finish(start(folder, yaml.safe_load((folder / "options.yml").read_text()), "--check")) == [0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (["absent_module"], "import: absent_module cannot be imported (ModuleNotFoundError"),
        (["absent.py"], "import: absent.py cannot be imported (ValueError: no such file)"),
        ([], "there is no network OneConvolution; "),
        ([3.5], "import: is [3.5]; give a list of modules"),
    ],
)
def test_check_reports_modules_in_one_line(modules, message, tmp_path, photographs):
    opt = options(photographs) | {"import": modules}
    opt["network_g"]["encoder"] = {"type": "OneConvolution", "width": 4}
    assert finish(start(tmp_path, opt, "--check")) == [2]
    assert message in printed(tmp_path)
    assert printed(tmp_path).count("\n") == 1


def test_a_file_must_not_hide_another_module(tmp_path):
    (tmp_path / "json.py").write_text("")
    with pytest.raises(ValueError, match=r"its name json belongs to .*json/__init__.py; rename the file"):
        import_modules([str(tmp_path / "json.py")])


def test_modules_of_a_checkpoint_are_untrusted_text(tmp_path):
    content = {
        "params": {"w": torch.zeros(1)},
        "network_g": {"type": "Absent", "encoder": {"type": "Absent"}},
    }
    save_checkpoint(tmp_path / "net.pth", {**content, "modules": {"Absent": "a\x1b[2J; rm"}})
    with pytest.raises(CheckpointError) as error:
        network_from(tmp_path / "net.pth")
    assert "\x1b" not in str(error.value)
    assert "there is no network Absent; give the module that registers it by --import" in str(error.value)


def test_installed_packages_register_by_an_entry_point(tmp_path, warm):
    (tmp_path / "installed_encoder.py").write_text(ENCODER.replace("OneConvolution", "InstalledConvolution"))
    info = tmp_path / "installed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{ENTRY_POINTS}]\nencoder = installed_encoder\nbad = absent_here\n"
    )
    code = (
        "from moeisr_plugin.archs.registry import build_network\n"
        "print(build_network({'type': 'InstalledConvolution', 'width': 3}))\n"
    )
    done = warm.run("-c", code, first_path=str(tmp_path))
    assert "InstalledConvolution(3, 3" in done.stdout, done.stderr
    assert "installed: its plugin absent_here cannot be imported" in done.stderr


def test_an_unknown_network_is_one_line():
    with pytest.raises(registry.UnknownNetworkError, match="there is no network Nothing; give the module"):
        registry.build_network({"type": "Nothing"})
