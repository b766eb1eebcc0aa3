"""The option files of the package are found by name, from a checkout and from an installed wheel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.cli import main
from moeisr_plugin.options import options_of_command
from moeisr_plugin.options.parse import read_options
from moeisr_plugin.options.shipped import located_options, shipped_options

ROOT = Path(__file__).parents[2]
NAME = "train_EDSR_MoEISR_LIIF_s"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_list_holds_every_file_but_the_bases(capsys):
    assert main(["options", "--list"]) == 0
    listed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    files = [path for folder in ("train", "test") for path in (ROOT / "options" / folder).rglob("*.yml")]
    assert len(files) > 50
    assert {name: Path(path).resolve() for name, path in listed.items()} == {f.stem: f for f in files}


def test_a_listing_overrides_no_options(capsys):
    assert main(["options", "--list", "--force_yml", "name=x"]) == 2
    assert "--force_yml needs FILE" in capsys.readouterr().err


@pytest.mark.parametrize("given", [NAME, f"{NAME}.yml", f"options/train/EDSR/{NAME}.yml"])
def test_a_shipped_file_is_found_by_name_from_anywhere(given, capsys):
    assert main(["options", given]) == 0
    assert f"name: {NAME}\n" in capsys.readouterr().out
    file = str(shipped_options()[NAME])
    assert read_options(given) == read_options(file)
    with pytest.raises(SystemExit) as stop:  # the files of its data sets are not here
        options_of_command(["-opt", given, "--check"], ".", is_train=True)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert not any("No such file or directory" in line for line in lines)


def test_a_file_of_the_user_comes_first():
    Path(f"{NAME}.yml").write_text("name: mine\n")
    assert read_options(f"{NAME}.yml") == {"name": "mine"}


@pytest.mark.parametrize(
    "given", ["none", "none.yml", "options/none.yml", "options", "other/train_tiny_LIIF.yml"]
)
def test_other_names_are_unchanged(given):
    assert located_options(given) == given


def test_options_need_a_file_or_the_list(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["options"])
    assert "one of the arguments FILE --list" in capsys.readouterr().err


@pytest.mark.slow
def test_a_built_package_holds_the_options_and_the_index_of_networks(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    for folder in ("moeisr_plugin", "options"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source)
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(site)]
    subprocess.run(command, cwd=source, check=True)
    code = (
        "from moeisr_plugin.cli import main\n"
        f"main(['networks']), main(['options', '--list']), main(['options', '{NAME}'])\n"
    )
    settings = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=settings, capture_output=True, text=True, check=True
    )
    assert f"{site / 'moeisr_plugin' / 'option_files' / 'train' / 'EDSR' / NAME}.yml\n" in done.stdout
    assert done.stdout.count(f"{site / 'moeisr_plugin' / 'option_files'}") == len(shipped_options())
    index = yaml.safe_load((site / "moeisr_plugin" / "weights" / "metafile.yml").read_text())
    results = {
        (m["Name"], r["Dataset"], r["Protocol"]): r["Metrics"] for m in index["Models"] for r in m["Results"]
    }
    assert f"{results[DEFAULT, 'Set14', 'benchmark']['PSNR x2']:.2f}" in done.stdout
    assert f"name: {NAME}\n" in done.stdout
