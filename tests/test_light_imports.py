"""Commands load only what they need, and those that do not train work without the packages of a training."""

import pytest
from processes import run_python

from moeisr_plugin.cli import COMMANDS

pytestmark = pytest.mark.slow

TRAINING_PACKAGES = (
    "basicsr",
    "torchvision",
    "mmengine",
    "lmdb",
    "matplotlib",
    "scipy.stats",
    "skimage",
    "addict",
)

DECODERS = ("cv2", "imagecodecs", "tifffile")
"""Packages that are slow to import, and that no PNG of 8 bits needs."""

# Refuses to import the packages of a training, as if they were not installed.
BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path, target=None):
        if any(name == banned or name.startswith(banned + ".") for banned in {TRAINING_PACKAGES}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""
MOEISR = "from moeisr_plugin.cli import main\nstatus = main(sys.argv[1:])\n"


def loaded(names: tuple[str, ...]) -> str:
    """Return code that prints which of the named modules are loaded."""
    return f"print('loaded', [name for name in {names} if name in sys.modules])\n"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)])
def test_version_and_help_load_neither_torch_nor_the_toolbox(arguments):
    code = (
        "import sys\nfrom moeisr_plugin.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert end.code == 0\n"
    )
    done = run_python(code + loaded(("torch", *TRAINING_PACKAGES)), *arguments)
    assert done.stdout.splitlines()[-1:] == ["loaded []"], done.stderr


def test_importing_the_package_loads_neither_torch_nor_numpy_nor_the_toolbox():
    done = run_python("import sys, moeisr_plugin\n" + loaded(("torch", "numpy", *TRAINING_PACKAGES)))
    assert done.stdout.strip() == "loaded []", done.stderr


def test_lazy_attributes_are_listed_and_an_unknown_one_is_an_attribute_error(warm):
    done = warm.run(
        "-c",
        "import moeisr_plugin\n"
        "print({'Upscaler', 'archs', 'models'} <= set(dir(moeisr_plugin)))\n"
        "print(moeisr_plugin.Upscaler.__name__, moeisr_plugin.losses.BalanceLoss.__name__)\n"
        "print(hasattr(moeisr_plugin, 'none'))\n",
    )
    assert done.stdout.split() == ["True", "Upscaler", "BalanceLoss", "False"], done.stderr


@pytest.mark.parametrize("blocker", ["import sys\n", BLOCKER])
def test_upscaling_and_converting_load_neither_training_nor_other_formats(blocker, tmp_path, photographs):
    source, target = tmp_path / "small.png", tmp_path / "large.png"
    _write_small_with_alpha(photographs / "chelsea.png", source)
    upscaling = (str(source), "-o", str(target), "--scale", "1.5")
    converting = (_bundled(), str(tmp_path / "net.pth"))
    code = (
        f"{blocker}from moeisr_plugin.cli import main\n"
        f"assert main(['upscale', *{upscaling}]) == main(['convert', *{converting}]) == 0\n"
    )
    done = run_python(code + loaded((*TRAINING_PACKAGES, *DECODERS)))
    assert done.stdout.splitlines()[-1:] == ["loaded []"], done.stderr
    assert target.is_file()
    assert (tmp_path / "net.pth").is_file()


def test_encoders_made_of_toolbox_networks_say_that_they_need_it():
    code = BLOCKER + (
        "from moeisr_plugin.archs.registry import build_network\n"
        "for encoder in ({'type': 'SwinIREncoder'}, {'type': 'ToolboxEncoder', 'arch': 'EDSR'}):\n"
        "    try:\n        build_network({'type': 'LIIF', 'encoder': encoder})\n"
        "    except ValueError as error:\n        print(error)\n"
        "print(build_network({'type': 'EDSREncoder', 'num_block': 1, 'num_feat': 4}).latent_channels)\n"
    )
    done = run_python(code)
    *lines, width = done.stdout.splitlines()
    needs = "needs BasicSR, but basicsr is not installed; install it with pip"
    for name, line in zip(("SwinIREncoder", "ToolboxEncoder"), lines, strict=True):
        assert line.startswith(f"{name} {needs}")
    assert width == "4"


def test_a_command_that_needs_the_toolbox_says_so_in_one_line(photographs):
    code = BLOCKER + MOEISR + "print(status)\n"
    done = run_python(code, "evaluate", "--weights", _bundled(), "--data", str(photographs))
    assert done.stdout.strip() == "2"
    assert done.stderr.startswith("moeisr evaluate: evaluate needs BasicSR, but ")
    assert len(done.stderr.splitlines()) == 1


def test_publishing_loads_nothing_of_a_training():
    done = run_python("import sys\nimport moeisr_plugin.publishing.publish\n" + loaded(TRAINING_PACKAGES))
    assert done.stdout.strip() == "loaded []", done.stderr


@pytest.mark.parametrize("module", ["train", "test", "run"])
def test_an_entry_point_without_the_toolbox_says_how_to_install_it_in_one_line(module, tmp_path):
    script = tmp_path / "script.py"
    script.touch()
    arguments = [str(script)] if module == "run" else ["-opt", "none.yml"]
    code = BLOCKER + f"import runpy\nrunpy.run_module('moeisr_plugin.{module}', run_name='__main__')\n"
    done = run_python(code, *arguments)
    user = {"train": "training", "test": "testing", "run": "script.py"}[module]
    assert done.returncode == 2
    assert done.stderr.startswith(f"{module}: {user} needs BasicSR, but basicsr is not installed; install")
    assert 'pip install ".[train]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_options_are_printed_without_torch_and_the_toolbox(tmp_path):
    (tmp_path / "base.yml").write_text("name: base\n")
    (tmp_path / "a.yml").write_text("_base_: base.yml\nscale: 2\n")
    code = BLOCKER + MOEISR + "assert status == 0\n" + loaded(("torch", *TRAINING_PACKAGES))
    done = run_python(code, "options", str(tmp_path / "a.yml"))
    assert done.stdout.splitlines() == ["name: base", "scale: 2", "loaded []"], done.stderr


def _bundled() -> str:
    from moeisr_plugin.checkpoints.bundled import bundled_weights

    return str(bundled_weights()["tiny_MoEISR_LIIF_s"])


def _write_small_with_alpha(photograph, path):
    """Write part of a photograph with a transparent corner, for which scipy.ndimage is needed."""
    from PIL import Image

    image = Image.open(photograph).crop((0, 0, 24, 20)).convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 8, 8))
    image.putalpha(alpha)
    image.save(path)
