"""The wheel and the sdist hold what they should, and the long description has no dead links."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout of git")
    return set(listed.stdout.splitlines())


@pytest.fixture(scope="module")
def built(tmp_path_factory, tracked):
    """Build a wheel and an sdist from a copy of the tracked files, and return the folder with both."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "setup.py", "-q", "sdist", "-d", str(target), "bdist_wheel", "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return target


def test_wheel_holds_weights_cards_index_and_no_tests(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / "moeisr_plugin").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names
    weights = [name for name in names if name.startswith("moeisr_plugin/weights/")]
    assert {Path(name).suffix for name in weights} == {".safetensors", ".md", ".yml"}
    assert not [name for name in names if name.startswith(("tests/", "tools/"))]


def test_sdist_holds_every_tracked_file(built, tracked):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    hidden = {name for name in tracked if name.startswith(".")}
    assert tracked - hidden <= names


def test_long_description_has_no_relative_links(built):
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    text = archive.read(name).decode()
    assert "Project-URL: Paper, https://arxiv.org/abs/2311.12077" in text
    assert len(re.findall(r"^Classifier: ", text, re.MULTILINE)) >= 8
    code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", code)
    assert links
    assert all(link.startswith("http") for link in links), links
